"""What a source lists before a single film is read: one record an image, checked as a whole."""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmil_cli.errors import DataError, listing


class RecordReason(StrEnum):
    """Why a record is left out although its film may be fine; reasons of the film itself are `Reason`."""

    MISSING_REPORT = "missing-report"
    UNREADABLE_REPORT = "unreadable-report"
    LFS_POINTER = "lfs-pointer"
    EMPTY_REPORT = "empty-report"
    MISSING_SPLIT = "missing-split"
    NO_LABELS = "no-labels"
    EXCLUDED = "excluded"
    CRASHED = "crashed"
    CHANGING = "changing"


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a source, with what belongs to it.

    Attributes:
        image: the film; None where the source names none.
        image_id, study_id, patient_id: as the source's own tables or paths carry them, never empty.
        split: "train", "validate", "test" or a name of the source's own; None where it names none.
        view: as the source writes it; None leaves it to the DICOM header.
        report: the text; None where it lies in `report_path`.
        labels: 1, 0, -1 (uncertain) or None (missing), in the order of `Manifest.label_names`.
        needs_report: False for films that are kept for their labels alone.
        fault: what the source itself found wrong, as (reason, sentence); such a record is left out.
        excluded: a list of the user's (`data.exclusion`) leaves it out.
        taken_on: date of the study, on its way to `study_day`; no record of a listed source has one.
        study_day: days since the first study of the patient, where asked for (`data.dates`).
    """

    image: Path | None
    image_id: str
    study_id: str
    patient_id: str
    split: str | None = None
    view: str | None = None
    report: str | None = None
    report_path: Path | None = None
    labels: tuple[int | None, ...] = ()
    needs_report: bool = True
    fault: tuple[str, str] | None = None
    excluded: bool = False
    taken_on: date | None = field(default=None, repr=False)
    study_day: int | None = None


@dataclass(frozen=True)
class Manifest:
    """All records of a source in a fixed order.

    Attributes:
        kind: the source's name, such as `mimic` or `table`.
        root: the folder that paths are told relative to.
        records: lists that may be long lie on disk (`OnDisk`).
        options: what was asked of the source; part of what makes two datasets the same.
        notes: sentences the user should read: what was not there, what was taken for a label.
    """

    kind: str
    root: Path
    records: Sequence[Record]
    label_names: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def relative_path(path: Path, root: Path) -> str:
    """A path as told from the source's root, with forward slashes; never the place of the root itself."""
    return Path(os.path.relpath(path.absolute(), root.absolute())).as_posix()


def record_states(manifest: Manifest) -> bytes:
    """`STATE_BYTES` for each record: equal while what the source tells of it and its files are unchanged."""
    return b"".join(
        record_state(record, root=manifest.root, label_names=manifest.label_names)
        for record in manifest.records
    )


def record_state(record: Record, *, root: Path, label_names: tuple[str, ...]) -> bytes:
    """Hash of a record and of the sizes and times of its files as they are now."""
    files = [_file_state(path, root) for path in (record.image, record.report_path)]
    told = [getattr(record, name) for name in _TOLD]
    return blake2b(json.dumps([label_names, files, told]).encode(), digest_size=STATE_BYTES).digest()


def fingerprint(states: bytes) -> str:
    """SHA-256 of the states of all records in order."""
    return hashlib.sha256(states).hexdigest()


STATE_BYTES = 16
_TOLD = ("image_id", "study_id", "patient_id", "split", "view", "report", "labels", "fault", "study_day")


def _file_state(path: Path | None, root: Path) -> list[str | int] | None:
    if path is None:
        return None
    try:
        state = path.stat()
    except (OSError, ValueError):  # a name with a null character is a ValueError
        return [relative_path(path, root)]
    return [relative_path(path, root), state.st_size, state.st_mtime_ns]


def check_manifest(manifest: Manifest) -> None:
    """Refuse a source that contradicts itself, with all its faults in one message.

    Raises:
        DataError: no record at all, image ids that occur twice, or patients in two splits.
    """
    if not manifest.records:
        raise DataError(
            f"{manifest.root} lists no image; check the path, or that the archive was unpacked there"
        )
    problems = [*_duplicate_ids(manifest.records), *_patients_in_two_splits(manifest.records)]
    if problems:
        raise DataError("\n".join(problems))


def _duplicate_ids(records: Sequence[Record]) -> Iterator[str]:
    hashes = np.sort(_hashes(record.image_id for record in records))
    suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    counts = Counter(record.image_id for record in records if hash(record.image_id) in suspects)
    twice = [image_id for image_id, count in counts.items() if count > 1]
    if twice:
        yield (
            f"image ids that occur more than once: {len(twice)} ({listing(twice)}); each needs its own: "
            "remove repeated rows, or name a column of unique ids with --column image_id=NAME"
        )


def _patients_in_two_splits(records: Sequence[Record]) -> Iterator[str]:
    suspects = _torn_hashes(records)
    splits: dict[str, set[str]] = defaultdict(set)
    for record in records if suspects else ():
        if record.split is not None and hash(record.patient_id) in suspects:
            splits[record.patient_id].add(record.split)
    torn = [f"{patient} ({', '.join(sorted(names))})" for patient, names in splits.items() if len(names) > 1]
    if torn:
        yield (
            f"patients in more than one split: {len(torn)} ({listing(torn)}); all images of a patient must "
            "be in one: mend the split column, or leave it out to have patients split by their ids"
        )


def _torn_hashes(records: Sequence[Record]) -> set[int]:
    """Hashes of patients that seem to be in two splits."""
    patients = _hashes(record.patient_id for record in records if record.split is not None)
    splits = _hashes(record.split for record in records if record.split is not None)
    order = np.lexsort((splits, patients))
    patients, splits = patients[order], splits[order]
    torn = (patients[1:] == patients[:-1]) & (splits[1:] != splits[:-1])
    return set(patients[1:][torn].tolist())


def _hashes(texts: Iterable[str]) -> NDArray[np.int64]:
    """8 bytes for each text, where the texts would take a hundred; who looks alike is looked at again."""
    return np.fromiter(map(hash, texts), np.int64)
