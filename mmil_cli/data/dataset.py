"""The dataset folder, memory-mapped: any row at any time, nothing loaded before it is asked for."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmil_cli.data.geometry import Affine
from mmil_cli.data.info import DatasetInfo, ShardInfo, SplitCounts, read_info
from mmil_cli.data.pixels import Encoding, decode
from mmil_cli.data.reports import Section
from mmil_cli.data.splits import normalise_split
from mmil_cli.errors import DataError, UsageError, nearest

__all__ = ["DatasetInfo", "Row", "ShardInfo", "SplitCounts", "StudyDataset"]


@dataclass(frozen=True)
class Row:
    """One image of the dataset but for its pixels.

    Attributes:
        view: "PA", "AP", "LATERAL", ...; "" where unknown.
        orientation: where the header says that rows and columns lead, such as "L\\F"; "" where unknown.
        text_key: equal for reports that say the same words.
        to_source: coordinates of the stored film to those of the original one.
        spacing_mm: of the original film, where known.
        study_day: days since the patient's first study; None where it is not known or was not asked for.
    """

    image_id: str
    study_id: str
    patient_id: str
    split: str
    view: str
    sections: tuple[Section, ...]
    sentences: tuple[str, ...]
    text_key: str
    to_source: Affine
    height: int
    width: int
    source_height: int
    source_width: int
    spacing_mm: tuple[float, float] | None
    orientation: str = ""
    study_day: int | None = None


class StudyDataset:
    """Random access to a dataset folder. Pickles as the folder's path and reopens where it is unpickled."""

    def __init__(self, folder: Path, info: DatasetInfo, batches: Sequence[pa.RecordBatch]) -> None:
        self.folder = folder
        self.info = info
        self._batches = tuple(batches)
        self._ends = np.cumsum([batch.num_rows for batch in batches])
        self._table = pa.Table.from_batches(batches)
        self._encoding = Encoding(info.encoding)

    @classmethod
    def open(cls, folder: Path) -> "StudyDataset":
        """Map all shards; reads their headers and sizes, not their content (see `verify`).

        Raises:
            DataError: no dataset folder, or its shards are not those that `dataset.json` tells of.
        """
        info = read_info(folder)
        batches = [batch for shard in info.shards for batch in map_shard(folder / shard.file, shard)]
        return cls(folder, info, batches)

    def __reduce__(self) -> tuple[Any, ...]:
        return StudyDataset.open, (self.folder,)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def label_names(self) -> tuple[str, ...]:
        """The findings that `labels` has columns for."""
        return self.info.label_names

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there are."""
        return tuple(self.info.counts)

    def require_reports(self) -> None:
        """Refuse a dataset of films and labels alone.

        Raises:
            UsageError: it was made with --labels-only.
        """
        if self.info.options.get("labels_only"):
            raise UsageError(
                f"{self.folder} holds films and labels but no reports (it was made with --labels-only); "
                "it is for mmil probe and mmil ground --phrases: take a dataset with reports here"
            )

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """The stored film of a row, uint8 [h, w]."""
        batch, place = self._locate(index)
        height, width = (batch.column(name)[place].as_py() for name in ("height", "width"))
        return decode(self.image_bytes(index), encoding=self._encoding, height=height, width=width)

    def image_bytes(self, index: int) -> bytes:
        """The stored film of a row as it was encoded."""
        batch, place = self._locate(index)
        data: bytes = batch.column("image").field("bytes")[place].as_py()
        return data

    def values(self, index: int, names: Sequence[str] | None = None) -> dict[str, Any]:
        """The values of a row by the names of `schema.arrow_schema`; all of them for None."""
        batch, place = self._locate(index)
        return {name: batch.column(name)[place].as_py() for name in names or batch.schema.names}

    def row(self, index: int) -> Row:
        """Everything else of a row."""
        batch, _ = self._locate(index)
        values = self.values(index, [name for name in batch.schema.names if name not in ("image", "labels")])
        spacing = values.pop("spacing")
        return Row(
            sections=tuple(Section(**section) for section in values.pop("sections")),
            sentences=tuple(values.pop("sentences")),
            to_source=Affine(*values.pop("to_source")),
            spacing_mm=tuple(spacing) if spacing else None,
            **values,
        )

    def sentences(self, rows: NDArray[np.int64]) -> list[str]:
        """The distinct sentences of some rows, sorted; quick for all rows of a large dataset."""
        lists = self._table.column("sentences").take(pa.array(rows))
        return sorted(pc.unique(pc.list_flatten(lists)).to_pylist())

    def indices(self, split: str | None) -> NDArray[np.int64]:
        """The rows of a split in order; of all splits for None.

        Raises:
            UsageError: no row is in that split.
        """
        if split is None:
            return np.arange(len(self))
        name = normalise_split(split)
        if name not in self.info.counts:
            raise UsageError(
                f"{self.folder} has no split {split!r}; it has: {', '.join(self.info.counts)}; "
                "give another --split, or mend the split column of the source and preprocess it again"
            )
        return np.flatnonzero(pc.equal(self._table.column("split"), name).to_numpy())

    def column(self, name: str) -> NDArray[np.str_]:
        """All rows of a text column: `image_id`, `study_id`, `patient_id`, `split`, `view` or `text_key`."""
        return np.array(self._table.column(name).to_pylist(), dtype=str)

    def study_days(self) -> NDArray[np.float64]:
        """Days since the patient's first study, of all rows; NaN where it is not known.

        Raises:
            UsageError: the dataset keeps none.
        """
        if "study_day" not in self._table.column_names:
            raise UsageError(
                f"{self.folder} has no days of studies, and dates are never kept; mmil preprocess "
                "--study-days keeps the days since each patient's first study, where the source has dates"
            )
        return pc.cast(self._table.column("study_day"), pa.float64()).to_numpy()

    def labels(self, names: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Labels float32 [rows, findings]: 1, 0, -1 uncertain, NaN missing; all findings for None.

        Raises:
            UsageError: a finding that the dataset has no labels for.
        """
        wanted = self.label_names if names is None else tuple(names)
        for name in wanted:
            if name not in self.label_names:
                near = nearest(name, self.label_names)
                known = ", ".join(self.label_names) or "no labels at all"
                raise UsageError(f"{self.folder} has no labels of {name!r}{near}; it has: {known}")
        if not wanted:
            return np.empty((len(self), 0), np.float32)
        return np.stack([self._label_column(name) for name in wanted], axis=1)

    def verify(self) -> None:
        """Read every shard and compare it with its hash.

        Raises:
            DataError: a shard was changed after it was written.
        """
        for shard in self.info.shards:
            verify_shard(self.folder / shard.file, shard)

    def _label_column(self, name: str) -> NDArray[np.float32]:
        column = pc.struct_field(self._table.column("labels"), name)
        return pc.cast(column, pa.float32()).to_numpy()

    def _locate(self, index: int) -> tuple[pa.RecordBatch, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of a dataset of {len(self)} rows")
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self._batches[number], int(index - (self._ends[number - 1] if number else 0))


def verify_shard(path: Path, shard: ShardInfo) -> None:
    """Read a shard and compare it with its hash.

    Raises:
        DataError: it is not there, or was changed after it was written.
    """
    if not path.is_file():
        raise _changed(path, "it is not there")
    with path.open("rb") as handle:
        if hashlib.file_digest(handle, "sha256").hexdigest() != shard.sha256:
            raise _changed(path, "its content does not have the hash it was written with")


def map_shard(path: Path, shard: ShardInfo) -> list[pa.RecordBatch]:
    """The record batches of a shard, which stay on disk."""
    if not path.is_file():
        raise _changed(path, "it is not there")
    if path.stat().st_size != shard.bytes:
        raise _changed(path, f"it has {path.stat().st_size} bytes, not {shard.bytes}")
    try:
        batches = list(pa.ipc.open_stream(pa.memory_map(str(path))))
    except (pa.ArrowInvalid, OSError) as fault:
        raise _changed(path, "it is no Arrow stream") from fault
    if sum(batch.num_rows for batch in batches) != shard.rows:
        raise _changed(path, f"it does not have {shard.rows} rows")
    return batches


def _changed(path: Path, how: str) -> DataError:
    return DataError(
        f"{path} is damaged or was changed: {how}; copy it again, or run mmil preprocess with --overwrite"
    )
