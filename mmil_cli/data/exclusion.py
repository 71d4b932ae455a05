"""Lists of images, studies or patients to leave out or to keep, such as the films of a benchmark."""

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.on_disk import Mapped
from mmil_cli.data.pseudonyms import LEVELS, Pseudonyms
from mmil_cli.data.tables import TABLE_SUFFIXES, read_table
from mmil_cli.errors import DataError, UsageError, listing

ID_COLUMNS: Mapping[str, str] = {
    "image_id": "image_id",
    "dicom_id": "image_id",
    "study_id": "study_id",
    "patient_id": "patient_id",
    "subject_id": "patient_id",
}
"""Columns that a table of exclusions may have, and what they name; dicom and subject as in MIMIC-CXR."""


def exclude(manifest: Manifest, path: Path, pseudonyms: Pseudonyms | None = None) -> Manifest:
    """The manifest with the records marked that a file names, each still in its place.

    Args:
        manifest: all records of the source.
        path: plain text of one id of an image, study or patient a line; or a table (CSV, JSON Lines) with one
            of the columns `ID_COLUMNS`.
        pseudonyms: under which the records are named; the list may have their own ids or pseudonyms.

    Raises:
        UsageError: the file is missing, names nothing of this source, or an id that is both, such as a study
            and another's patient.
        DataError: the file cannot be read.
    """
    return _marked(manifest, path, pseudonyms, option="--exclude", marks_named=True)


def keep_only(manifest: Manifest, path: Path, pseudonyms: Pseudonyms | None = None) -> Manifest:
    """The manifest with all records marked that a file, read as by `exclude`, does not name."""
    return _marked(manifest, path, pseudonyms, option="--only", marks_named=False)


def _marked(
    manifest: Manifest, path: Path, pseudonyms: Pseudonyms | None, *, option: str, marks_named: bool
) -> Manifest:
    ids, level = _read(path, option)
    levels = (level,) if level else LEVELS
    known = {name: _known(manifest.records, ids, name, pseudonyms) for name in levels}
    meant = {name: _meant(ids, name, known[name], pseudonyms) for name in levels}
    _check_plain(path, ids, manifest.records, meant, option, tells=pseudonyms is None)
    named = {name: set(meant[name].values()) for name in levels}

    def marked(record: Record) -> Record:
        is_named = any(getattr(record, name) in named[name] for name in levels)
        return replace(record, excluded=record.excluded or is_named == marks_named)

    unknown = ids - set().union(*meant.values())
    # Under a key only pseudonyms are hashed: the few ids of a list could be tried out.
    listed = set().union(*named.values()) if pseudonyms else ids
    digest = hashlib.sha256("\n".join([*levels, *sorted(listed)]).encode()).hexdigest()[:16]
    return replace(
        manifest,
        records=Mapped(manifest.records, marked),
        options=(*manifest.options, (option.removeprefix("--"), digest)),
        notes=(*manifest.notes, *_unknown_note(path, unknown, ids, option, tells=pseudonyms is None)),
    )


def _known(
    records: Iterable[Record], ids: Iterable[str], level: str, pseudonyms: Pseudonyms | None
) -> set[str]:
    """What records have at one level, as far as the list may mean it: memory grows with the list alone."""
    listed = set(ids)
    if pseudonyms:
        listed |= {pseudonyms.name(level, i) for i in ids}
    return {name for record in records if (name := getattr(record, level)) in listed}


def _meant(
    ids: Iterable[str], level: str, known: Container[str], pseudonyms: Pseudonyms | None
) -> dict[str, str]:
    """The ids of a list that records have at one level, each with what the record has for it."""
    meant = {i: i for i in ids if i in known}
    if pseudonyms:
        named = {i: pseudonyms.name(level, i) for i in ids if i not in meant}
        meant |= {i: pseudonym for i, pseudonym in named.items() if pseudonym in known}
    return meant


def _read(path: Path, option: str) -> tuple[set[str], str | None]:
    """The ids of a file, and what they name where it says so."""
    if not path.is_file():
        raise UsageError(
            f"{option}: no file {path}; give one id of an image, study or patient a line, or a table with a "
            f"column of them ({', '.join(ID_COLUMNS)})"
        )
    if path.name.lower().endswith(TABLE_SUFFIXES):
        return _read_column(path, option)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as fault:
        raise DataError(f"{option}: {path} cannot be read as UTF-8 text: {fault}") from fault
    if lines and lines[0].startswith("version https://git-lfs"):
        raise DataError(f"{option}: {path} is a Git LFS pointer, not the list; fetch it with `git lfs pull`")
    return _named(path, lines, option), None


def _read_column(path: Path, option: str) -> tuple[set[str], str]:
    table = read_table(path)
    columns = [name for name in ID_COLUMNS if name in table.columns]
    if len(columns) != 1:
        found = f"has the columns {', '.join(columns)}" if columns else "has no column of ids"
        raise UsageError(
            f"{option}: {path} {found}; leave exactly one of {', '.join(ID_COLUMNS)}, to say what is meant"
        )
    return _named(path, table.column(columns[0]), option), ID_COLUMNS[columns[0]]


def _named(path: Path, texts: Iterable[str], option: str) -> set[str]:
    ids = {text.strip() for text in texts} - {""}
    if not ids:
        raise UsageError(f"{option}: {path} names no id; give one a line, or leave the option out")
    return ids


def _check_plain(
    path: Path,
    ids: set[str],
    records: Sequence[Record],
    meant: Mapping[str, Mapping[str, str]],
    option: str,
    *,
    tells: bool,
) -> None:
    """Refuse a list that names nothing, or ids whose meaning is open; `tells` may repeat them."""
    if not any(meant.values()):
        some = f" ({listing(sorted(ids), 3)})" if tells else ""
        raise UsageError(
            f"{option}: none of the {len(ids)} ids of {path}{some} is one of this "
            f"source ({_samples(records)}); check which archive the list is of"
        )
    open_ids = {i for i in ids if sum(i in of_level for of_level in meant.values()) > 1}
    films = {name: {of_level[i]: set[str]() for i in open_ids if i in of_level}
             for name, of_level in meant.items()}  # fmt: skip
    for record in records:
        for name, of_level in films.items():
            if getattr(record, name) in of_level:
                of_level[getattr(record, name)].add(record.image_id)
    torn = sorted(
        i for i in open_ids if len({frozenset(films[n][m[i]]) for n, m in meant.items() if i in m}) > 1
    )
    if torn:
        told = listing(torn, 3) if tells else f"{len(torn)} ids"
        raise UsageError(
            f"{option}: {told} of {path} are ids of different things (image, study or patient); "
            f"give a CSV whose column says which: {', '.join(ID_COLUMNS)}"
        )


def _samples(records: Sequence[Record]) -> str:
    first = records[0]
    return ", ".join(f"{name.removesuffix('_id')} {getattr(first, name)}" for name in LEVELS)


def _unknown_note(path: Path, unknown: set[str], ids: set[str], option: str, *, tells: bool) -> list[str]:
    if not unknown:
        return []
    some = f" ({listing(sorted(unknown), 3)})" if tells else ""
    return [f"{option}: {len(unknown)} of {len(ids)} ids of {path.name} are not in this source{some}"]
