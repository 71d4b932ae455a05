"""Writing a dataset folder shard by shard, so that a broken run goes on after its last full shard."""

import csv
import hashlib
import os
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmil_cli.data.convert import Example, Rejection
from mmil_cli.data.info import REJECTED_FILE, STATES_FILE, DatasetInfo, ShardInfo, SplitCounts
from mmil_cli.data.manifest import STATE_BYTES, Record, fingerprint, relative_path
from mmil_cli.data.pixels import Encoding
from mmil_cli.data.progress import Part, Plan, Workshop, shard_name, write_whole
from mmil_cli.data.pseudonyms import without_names
from mmil_cli.data.schema import arrow_row, arrow_schema, row_digest
from mmil_cli.errors import DataError

BATCH_ROWS = 128
"""Rows held in memory before they are written."""

PART_RECORDS = 8
"""Most records of a part, as a multiple of the rows of a full shard."""

REJECTED_COLUMNS = ("image_id", "study_id", "path", "reason", "detail")
_REASON = REJECTED_COLUMNS.index("reason")


@dataclass(frozen=True)
class Layout:
    """How rows become files.

    Attributes:
        shard_rows: rows of a full shard.
        root: the folder that paths in `rejected.csv` are relative to; None where ids are pseudonyms, and
            neither paths nor names of files are told.
        study_days: rows carry the day of their study.
    """

    label_names: tuple[str, ...]
    encoding: Encoding
    side: int
    root: Path | None
    shard_rows: int = 1024
    study_days: bool = False


@dataclass
class _OpenPart:
    """The part that is being filled: rows not yet written, and what will be remembered of it."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    rejected: list[tuple[str, ...]] = field(default_factory=list)
    stream: Any = None
    sink: Any = None


class ShardWriter:
    """Takes outcomes in the order of the records and writes the dataset folder in a workshop beside it.

    `records` says how many records are done and safe: the first outcome must be that of the record after.
    """

    def __init__(self, workshop: Workshop, layout: Layout) -> None:
        self._workshop = workshop
        self._layout = layout
        self._schema = arrow_schema(layout.label_names, layout.encoding, study_days=layout.study_days)
        self._shards: list[ShardInfo] = []
        self._content = hashlib.sha256()
        self._states, self._kept = bytearray(), bytearray()
        self._reasons: Counter[str] = Counter()
        self._parts = 0
        self._open = _OpenPart()
        for part in workshop.parts():
            self._count(part)

    @property
    def records(self) -> int:
        """Records that are done and safe."""
        return len(self._kept)

    @property
    def kept(self) -> bytes:
        """1 for each of these that has a row, 0 for each that was left out."""
        return bytes(self._kept)

    @property
    def rejected(self) -> dict[str, int]:
        """Records left out so far, by reason, the most frequent first."""
        reasons = self._reasons + Counter(line[_REASON] for line in self._open.rejected)
        return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))

    def add(self, outcome: Example | Rejection, *, state: bytes) -> None:
        """Write the next row, or note the record as left out; `state` is that of the record when read."""
        if isinstance(outcome, Rejection):
            self._open.rejected.append(self._line(outcome))
            self._note(state, kept=False)
        else:
            row = arrow_row(outcome, self._layout.label_names, study_days=self._layout.study_days)
            self.add_row(row, state=state)

    def add_row(self, row: dict[str, Any], *, state: bytes) -> None:
        """Write the next row as it stands in a dataset already."""
        self._open.rows.append(row)
        self._open.digests.append(row_digest(row))
        if len(self._open.rows) == BATCH_ROWS:
            self._write_batch()
        self._note(state, kept=True)

    def _note(self, state: bytes, *, kept: bool) -> None:
        """Remember the record; a part ends with a full shard, or after many records that gave few rows."""
        part = self._open
        part.states.append(state)
        part.kept.append("01"[kept])
        most = self._layout.shard_rows
        if len(part.digests) == most or len(part.kept) == most * PART_RECORDS:
            self._close_part()

    def flush(self) -> None:
        """Write the last part, and the files beside the shards; nothing may be added after it."""
        if self._open.kept:
            self._close_part()
        with (self._workshop.dataset / REJECTED_FILE).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(REJECTED_COLUMNS)
            for part in self._workshop.parts():
                writer.writerows(part.rejected)
            file.flush()
            os.fsync(file.fileno())
        write_states(self._workshop.dataset, bytes(self._states), self.kept)

    def publish(self, plan: Plan, versions: dict[str, str], counts: Mapping[str, SplitCounts]) -> DatasetInfo:
        """Write `dataset.json` and put the folder into its place; `counts` are of the records with rows."""
        info = DatasetInfo(
            side=self._layout.side,
            encoding=str(self._layout.encoding),
            label_names=self._layout.label_names,
            counts=counts,
            content_hash=self._content.hexdigest(),
            options=plan.options,
            source=fingerprint(bytes(self._states)),
            versions=versions,
            rejected=self.rejected,
            shards=tuple(self._shards),
        )
        info.write(self._workshop.dataset)
        self._workshop.publish()
        return info

    def close(self) -> None:
        """Let go of the file of an unfinished shard."""
        if self._open.sink is not None:
            with suppress(OSError):  # a disk that is full has been told of already
                self._open.sink.close()

    def _write_batch(self) -> None:
        part = self._open
        if part.stream is None:
            part.sink = pa.OSFile(str(self._aside), "wb")
            part.stream = pa.ipc.new_stream(part.sink, self._schema)
        part.stream.write_batch(pa.RecordBatch.from_pylist(part.rows, schema=self._schema))
        part.rows.clear()

    def _close_part(self) -> None:
        done = self._open
        if done.rows:
            self._write_batch()
        part = Part(
            shard=self._close_shard() if done.stream else None,
            states=b"".join(done.states).hex(),
            kept="".join(done.kept),
            digests=tuple(done.digests),
            rejected=tuple(done.rejected),
        )
        self._workshop.keep(self._parts, part)
        self._open = _OpenPart()
        self._count(part)

    def _close_shard(self) -> ShardInfo:
        self._open.stream.close()
        self._open.sink.close()
        path = self._workshop.dataset / f"{shard_name(len(self._shards))}.arrow"
        return _commit(self._aside, path, len(self._open.digests))

    def _count(self, part: Part) -> None:
        if part.shard:
            self._shards.append(part.shard)
        self._content.update("".join(part.digests).encode())
        self._states += bytes.fromhex(part.states)
        self._kept += bytes(map(int, part.kept))
        self._reasons.update(line[_REASON] for line in part.rejected)
        self._parts += 1

    def _line(self, rejection: Rejection) -> tuple[str, ...]:
        record = rejection.record
        if self._layout.root is None:
            return (
                record.image_id,
                record.study_id,
                "",
                rejection.reason,
                without_names(rejection.detail, record),
            )
        path = record.image and relative_path(record.image, self._layout.root)
        return record.image_id, record.study_id, path or "", rejection.reason, rejection.detail

    @property
    def _aside(self) -> Path:
        return self._workshop.progress / "shard.tmp"


def _commit(aside: Path, path: Path, rows: int) -> ShardInfo:
    """Make a written shard safe and give it its name."""
    with aside.open("rb+") as handle:
        os.fsync(handle.fileno())
        sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    aside.replace(path)
    return ShardInfo(path.name, rows, path.stat().st_size, sha256)


def count_splits(records: Iterable[Record], kept: bytes) -> dict[str, SplitCounts]:
    """Images, studies and patients of each split, of the records with a row; train, validate, test first.

    Ids are told apart by 64 bits of hash: two of a million are taken for one with a chance of 1 in 10^7.
    """
    ids: defaultdict[str, tuple[array[int], array[int]]] = defaultdict(lambda: (array("q"), array("q")))
    for record, has_row in zip(records, kept, strict=True):
        if has_row:
            studies, patients = ids[str(record.split)]
            studies.append(hash(record.study_id))
            patients.append(hash(record.patient_id))
    usual = ("train", "validate", "test")
    names = [name for name in usual if name in ids] + sorted(ids.keys() - set(usual))
    return {name: SplitCounts(len(ids[name][0]), *(len(np.unique(values)) for values in ids[name]))
            for name in names}  # fmt: skip


def write_states(folder: Path, states: bytes, kept: bytes) -> None:
    """Write `records.bin` of a dataset."""
    lines = np.frombuffer(states, np.uint8).reshape(-1, STATE_BYTES)
    content = np.concatenate([lines, np.frombuffer(kept, np.uint8)[:, None]], axis=1)
    write_whole(folder / STATES_FILE, content.tobytes())


def read_states(folder: Path, source: str) -> tuple[bytes, bytes]:
    """States of the records of a dataset, and 1 or 0 for each: it has a row, or not.

    Raises:
        DataError: the file is missing, or not what `source`, the fingerprint of the dataset, was made of.
    """
    path = folder / STATES_FILE
    content = np.frombuffer(path.read_bytes() if path.is_file() else b"", np.uint8)
    lines = content[: content.size // (STATE_BYTES + 1) * (STATE_BYTES + 1)].reshape(-1, STATE_BYTES + 1)
    states, kept = lines[:, :STATE_BYTES].tobytes(), lines[:, STATE_BYTES].tobytes()
    if fingerprint(states) != source:
        raise DataError(
            f"{folder} was made of another state of its source, and {path.name}, which says what of it may "
            "stay, is missing or damaged; make it anew with --overwrite"
        )
    return states, kept
