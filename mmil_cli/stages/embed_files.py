"""Features of films and their reports as one file, Parquet or NumPy, written a block at a time."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmil_cli.files import without_nan

IDS = ("image_id", "study_id", "patient_id", "split", "view")
PROVENANCE = "mmil"
"""Key of the provenance, JSON, among the metadata of a Parquet file; in a NumPy file `provenance`."""

Features = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Some films with their reports, in the order of the dataset.

    Attributes:
        ids: the columns of `IDS`, one value a film.
        pooled: mean of the encoder's own features [B, C].
        image: mean of the projected regions, of length 1 [B, D].
        report: mean of the report's texts, of length 1 [B, D]; NaN where there is no report.
        texts: what the text tower read of each report: its sentences, or all of it as one.
        distinct: the distinct ones of them [U].
        sentences: their features, of length 1 [U, D].
        regions: projected regions, each of length 1 [B, N, D], if they are wanted.
        mask: True where the region shows film [B, N], if regions are wanted.
    """

    ids: Mapping[str, Sequence[str]]
    pooled: Features
    image: Features
    report: Features
    texts: Sequence[Sequence[str]]
    distinct: Sequence[str]
    sentences: Features
    regions: Features | None
    mask: NDArray[np.bool_] | None


class ParquetFile:
    """One row a film, a row group a block; vectors as lists of fixed size, sentences as a list of them."""

    def __init__(self, path: Path, *, provenance: Mapping[str, Any]) -> None:
        self.path = path
        self.metadata = {PROVENANCE: json.dumps(without_nan(dict(provenance)))}
        self.writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.writer is not None:
            self.writer.close()

    def write(self, block: Block) -> None:
        """Adds a row group."""
        table = _as_table(block).replace_schema_metadata(self.metadata)
        if self.writer is None:
            self.writer = pq.ParquetWriter(self.path, table.schema, use_dictionary=list(IDS))
        self.writer.write_table(table)


class NumpyFile:
    """Arrays of all films; each distinct text once.

    `sentence_text` holds the texts as bytes of UTF-8, a line each; report b has the texts
    `report_sentences[report_offsets[b]:report_offsets[b + 1]]`, rows of `sentence`. What grows with the films
    lies in files beside the partial one until the end, not in memory.
    """

    def __init__(self, path: Path, *, provenance: Mapping[str, Any]) -> None:
        self.path = path
        self.provenance = json.dumps(without_nan(dict(provenance)))
        self.aside = path.with_name(f"{path.name}.arrays")
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, np.dtype[Any]] = {}
        self.ids: dict[str, list[str]] = {name: [] for name in IDS}
        self.places: dict[str, int] = {}
        self.offsets = [0]

    def __enter__(self) -> Self:
        shutil.rmtree(self.aside, ignore_errors=True)  # of a run that was killed
        self.aside.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._join()
        finally:
            shutil.rmtree(self.aside, ignore_errors=True)

    def write(self, block: Block) -> None:
        """Adds some films."""
        for name in IDS:
            self.ids[name].extend(block.ids[name])
        fresh = [place for place, text in enumerate(block.distinct) if text not in self.places]
        for place in fresh:
            self.places[block.distinct[place]] = len(self.places)
        for texts in block.texts:
            self.offsets.append(self.offsets[-1] + len(texts))
        held = np.array([self.places[text] for texts in block.texts for text in texts], np.int64)
        arrays = {
            "pooled": block.pooled,
            "image": block.image,
            "report": block.report,
            "sentence": block.sentences[fresh],
            "report_sentences": held,
            **({"regions": block.regions} if block.regions is not None else {}),
            **({"mask": block.mask} if block.mask is not None else {}),
        }
        for name, array in arrays.items():
            self._append(name, np.ascontiguousarray(array))

    def _append(self, name: str, array: NDArray[Any]) -> None:
        with (self.aside / name).open("ab") as handle:
            handle.write(array.data)
        before = self.shapes.get(name, (0,))[0]
        self.shapes[name] = (before + len(array), *array.shape[1:])
        self.types[name] = array.dtype

    def _join(self) -> None:
        text = "\n".join(" ".join(sentence.split()) for sentence in self.places)
        with self.path.open("wb") as handle:  # by name, numpy would add an ending of its own
            np.savez(
                handle,
                allow_pickle=False,
                **{name: self._mapped(name) for name in self.shapes},
                **{name: np.array(values, str) for name, values in self.ids.items()},
                sentence_text=np.frombuffer(text.encode("utf-8"), np.uint8),
                report_offsets=np.array(self.offsets, np.int64),
                provenance=np.array(self.provenance),
            )

    def _mapped(self, name: str) -> NDArray[Any]:
        shape = self.shapes[name]
        if 0 in shape:  # a file without bytes cannot be mapped
            return np.empty(shape, self.types[name])
        return np.memmap(self.aside / name, self.types[name], mode="r", shape=shape)


FORMATS: dict[str, type[ParquetFile] | type[NumpyFile]] = {".parquet": ParquetFile, ".npz": NumpyFile}


def _as_table(block: Block) -> pa.Table:
    places = {text: place for place, text in enumerate(block.distinct)}
    held = np.array([places[text] for texts in block.texts for text in texts], np.int64)
    ends = np.cumsum([0, *(len(texts) for texts in block.texts)]).astype(np.int32)
    columns: dict[str, pa.Array] = {name: pa.array(block.ids[name], pa.string()) for name in IDS}
    columns["pooled"] = _vectors(block.pooled)
    columns["image"] = _vectors(block.image)
    columns["report"] = _vectors(block.report, missing=np.isnan(block.report[:, 0]))
    columns["sentences"] = pa.array(block.texts, pa.list_(pa.string()))
    columns["sentence_features"] = pa.ListArray.from_arrays(ends, _vectors(block.sentences[held]))
    if block.regions is not None and block.mask is not None:
        columns["regions"] = _vectors(block.regions.reshape(len(block.regions), -1))
        columns["mask"] = _vectors(block.mask)
    return pa.table(columns)


def _vectors(rows: NDArray[Any], *, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Rows [B, K] as lists of K; null where missing."""
    mask = None if missing is None or not missing.any() else pa.array(missing)
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1], mask=mask)
