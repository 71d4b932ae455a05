"""Writing a dataset folder shard by shard, so that a broken run goes on after its last full shard."""

import csv
import hashlib
import io
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmil_cli.data.convert import Example, Rejection
from mmil_cli.data.info import REJECTED_FILE, DatasetInfo, ShardInfo, SplitCounts
from mmil_cli.data.manifest import relative_path
from mmil_cli.data.pixels import Encoding
from mmil_cli.data.progress import Plan, ShardProgress, Workshop, shard_name, write_whole
from mmil_cli.data.pseudonyms import without_names
from mmil_cli.data.schema import arrow_row, arrow_schema, row_digest

BATCH_ROWS = 128
"""Rows held in memory before they are written."""

REJECTED_COLUMNS = ("image_id", "study_id", "path", "reason", "detail")


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
class _OpenShard:
    """The shard that is being filled: rows not yet written, and what will be remembered of it."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    rejected: list[tuple[str, ...]] = field(default_factory=list)
    records: int = 0
    stream: Any = None
    sink: Any = None


class ShardWriter:
    """Takes outcomes in the order of the records and writes the dataset folder in a workshop beside it.

    `records` says how many records the full shards hold: the first outcome must be that of the record after.
    """

    def __init__(self, workshop: Workshop, layout: Layout) -> None:
        self._workshop = workshop
        self._layout = layout
        self._schema = arrow_schema(layout.label_names, layout.encoding, study_days=layout.study_days)
        self._shards: list[ShardInfo] = []
        self._content = hashlib.sha256()
        self._rejected: list[tuple[str, ...]] = []
        self._open = _OpenShard()
        self.records = 0
        for progress in workshop.full_shards():
            self._count(progress)

    @property
    def rejected(self) -> dict[str, int]:
        """Records left out so far, by reason, the most frequent first."""
        lines = [*self._rejected, *self._open.rejected]
        return dict(Counter(line[REJECTED_COLUMNS.index("reason")] for line in lines).most_common())

    def add(self, outcome: Example | Rejection) -> None:
        """Write the next row, or note the record as left out."""
        self._open.records += 1
        if isinstance(outcome, Rejection):
            self._open.rejected.append(self._line(outcome))
            return
        row = arrow_row(outcome, self._layout.label_names, study_days=self._layout.study_days)
        self._open.rows.append(row)
        self._open.digests.append(row_digest(row))
        if len(self._open.rows) == BATCH_ROWS:
            self._write_batch()
        if len(self._open.digests) == self._layout.shard_rows:
            self._close_shard()

    def flush(self) -> None:
        """Write the last shard and `rejected.csv`; nothing may be added after it."""
        if self._open.digests:
            self._close_shard()
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([REJECTED_COLUMNS, *self._rejected, *self._open.rejected])
        write_whole(self._workshop.dataset / REJECTED_FILE, text.getvalue())

    def publish(self, plan: Plan, versions: dict[str, str]) -> DatasetInfo:
        """Write `dataset.json` and put the folder into its place."""
        info = DatasetInfo(
            side=self._layout.side,
            encoding=str(self._layout.encoding),
            label_names=self._layout.label_names,
            counts=_counts([self._workshop.dataset / shard.file for shard in self._shards]),
            content_hash=self._content.hexdigest(),
            options=plan.options,
            source=plan.source,
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
            self._open.sink.close()

    def _write_batch(self) -> None:
        shard = self._open
        if shard.stream is None:
            shard.sink = pa.OSFile(str(self._aside), "wb")
            shard.stream = pa.ipc.new_stream(shard.sink, self._schema)
        shard.stream.write_batch(pa.RecordBatch.from_pylist(shard.rows, schema=self._schema))
        shard.rows.clear()

    def _close_shard(self) -> None:
        shard = self._open
        if shard.rows:
            self._write_batch()
        shard.stream.close()
        shard.sink.close()
        path = self._workshop.dataset / f"{shard_name(len(self._shards))}.arrow"
        info = _commit(self._aside, path, len(shard.digests))
        progress = ShardProgress(info, shard.records, tuple(shard.digests), tuple(shard.rejected))
        self._workshop.keep(progress)
        self._open = _OpenShard()
        self._count(progress)

    def _count(self, progress: ShardProgress) -> None:
        self._shards.append(progress.shard)
        self._content.update("".join(progress.digests).encode())
        self._rejected.extend(progress.rejected)
        self.records += progress.records

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


def _counts(paths: list[Path]) -> dict[str, SplitCounts]:
    """Images, studies and patients of each split; train, validate and test first."""
    images: Counter[str] = Counter()
    studies, patients = defaultdict(set), defaultdict(set)
    for path in paths:
        for batch in pa.ipc.open_stream(pa.memory_map(str(path))):
            splits = batch.column("split").to_pylist()
            images.update(splits)
            for split, study, patient in zip(
                splits,
                batch.column("study_id").to_pylist(),
                batch.column("patient_id").to_pylist(),
                strict=True,
            ):
                studies[split].add(study)
                patients[split].add(patient)
    usual = ("train", "validate", "test")
    names = [name for name in usual if name in images] + sorted(images.keys() - set(usual))
    return {name: SplitCounts(images[name], len(studies[name]), len(patients[name])) for name in names}
