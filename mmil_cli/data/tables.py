"""CSV, JSON Lines and Parquet tables as columns and rows of text."""

import csv
import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from mmil_cli.data.on_disk import CHUNK, Mapped, OnDisk
from mmil_cli.data.sentences import is_unicode
from mmil_cli.data.texts import MOST_BYTES, UTF_16
from mmil_cli.errors import DataError, listing, nearest, shortened

CSV_SUFFIXES = (".csv", ".csv.gz")
JSON_LINES_SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
PARQUET_SUFFIXES = (".parquet",)
TABLE_SUFFIXES = CSV_SUFFIXES + JSON_LINES_SUFFIXES + PARQUET_SUFFIXES

_LABELS = {"": None, "nan": None, "1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1}
_GRADES = _LABELS | {text: grade for grade in range(10) for text in (str(grade), f"{grade}.0")}
LABEL_VALUES = "1 (present), 0 (absent), -1 (uncertain) or blank (missing)"
_OR_GRADES = f"{LABEL_VALUES}, or in a column of grades a whole number from 0 to 9"


@dataclass(frozen=True)
class Table:
    """A table, its rows on disk; every row has one text for every column, blank where there is nothing."""

    path: Path
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def column(self, name: str) -> Sequence[str]:
        """The values of one column, which are read when they are asked for."""
        return Mapped(self.rows, itemgetter(self.place(name)))

    def place(self, name: str) -> int:
        """Where a column stands.

        Raises:
            DataError: there is no such column.
        """
        if name not in self.columns:
            near = nearest(name, self.columns)
            raise DataError(
                f"{self.path.name} has no column {name!r}{near}; it has: {listing(self.columns, 20)}"
            )
        return self.columns.index(name)


def read_table(path: Path) -> Table:
    """Read a table by its suffix.

    Raises:
        DataError: the file cannot be read, is not UTF-8, has no or repeated columns, broken rows or columns
            of other than plain values.
    """
    if path.name.lower().endswith(PARQUET_SUFFIXES):
        return _read_parquet(path)
    with _opened(path) as handle:
        if path.name.lower().endswith(JSON_LINES_SUFFIXES):
            return _read_json_lines(path, handle)
        return _read_csv(path, handle)


def is_label(text: str) -> bool:
    """Whether a cell holds one of the label values."""
    return text.strip().lower() in _LABELS


def parse_labels(values: Sequence[str], *, column: str, path: Path) -> list[int | None]:
    """A column of labels as 1, 0, -1 or None.

    Raises:
        DataError: values other than those; says which, in how many rows, and what is allowed.
    """
    return _parsed(values, _LABELS, f"{path.name}: label column {column!r}", LABEL_VALUES)


def _parsed(
    values: Sequence[str], meaning: Mapping[str, int | None], where: str, allowed: str
) -> list[int | None]:
    parsed, bad = [], []
    for number, text in enumerate(values):
        if (key := text.strip().lower()) in meaning:
            parsed.append(meaning[key])
        else:
            bad.append(number)
    if bad:
        found = listing(sorted({shortened(repr(values[number]), 40) for number in bad}))
        raise DataError(
            f"{where} holds {found} in {len(bad)} rows, first in row {bad[0] + 1}; a label is {allowed}"
        )
    return parsed


@dataclass(frozen=True)
class LabelColumn:
    """A column of a table as one or more labels.

    Attributes:
        names: of the labels.
        thresholds: of the grades, one a label; None where the cells hold the label itself.
    """

    names: tuple[str, ...]
    thresholds: tuple[int, ...] | None

    def labels(self, text: str) -> tuple[int | None, ...]:
        """The labels of one cell: 1, 0, -1 or None."""
        grade = _GRADES[text.strip().lower()]
        return (grade,) if self.thresholds is None else tuple(_reaches(grade, t) for t in self.thresholds)


def label_column(values: Sequence[str], *, column: str, path: Path) -> LabelColumn:
    """How one column of a table is read as labels.

    A column of labels stays as it is. A column of grades (whole numbers 0 to 9, edema severity for one)
    becomes a label for each threshold, `edema >= 1`, `edema >= 2`, ... up to the highest grade: the
    comparisons in which ordinal findings are scored. Uncertain and missing grades are so at each threshold.

    Raises:
        DataError: values that are neither labels nor grades.
    """
    where = f"{path.name}: label column {column!r}"
    grades = _parsed(values, _GRADES, where, _OR_GRADES)
    highest = max((grade for grade in grades if grade is not None), default=0)
    if highest <= 1:
        return LabelColumn((column,), None)
    thresholds = tuple(range(1, highest + 1))
    return LabelColumn(tuple(f"{column} >= {least}" for least in thresholds), thresholds)


def label_columns(values: Sequence[str], *, column: str, path: Path) -> list[tuple[str, list[int | None]]]:
    """One column of a table as named columns of labels, in memory; see `label_column`."""
    reader = label_column(values, column=column, path=path)
    rows = [reader.labels(text) for text in values]
    return [(name, [row[place] for row in rows]) for place, name in enumerate(reader.names)]


def _reaches(grade: int | None, least: int) -> int | None:
    return grade if grade is None or grade < 0 else int(grade >= least)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The table as text; every way in which reading fails becomes one sentence."""
    try:
        opening = gzip.open if path.suffix.lower() == ".gz" else open
        with opening(path, "rt", encoding="utf-8-sig", newline="") as handle:
            yield cast(TextIO, handle)
    except UnicodeDecodeError as fault:
        likely = "UTF-16" if fault.object.startswith(UTF_16) else "WINDOWS-1252"
        raise DataError(
            f"{path} is not UTF-8 text ({fault.reason}); save it as UTF-8, or convert it, such as with "
            f"iconv -f {likely} -t UTF-8"
        ) from fault
    except (OSError, EOFError, zlib.error) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise DataError(f"{path} cannot be read: {reason}") from fault


def _read_csv(path: Path, handle: TextIO) -> Table:
    reader = csv.reader(handle, strict=True)
    try:
        csv.field_size_limit(MOST_BYTES)
        lines = (line for line in reader if any(map(str.strip, line)))
        columns = [name.strip() for name in next(lines, ())]
        _check_columns(path, columns)
        rows = OnDisk(_whole_rows(path, len(columns), lines))
    except csv.Error as fault:
        told = f"line {reader.line_num}: {fault}; a quote may be left open before it"
        raise DataError(f"{path} is not a table of comma-separated values ({told})") from fault
    return Table(path, tuple(columns), rows)


def _check_columns(path: Path, columns: list[str]) -> None:
    if not columns:
        raise DataError(f"{path} is empty; the first line must name the columns")
    _check_separator(path, columns)
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise DataError(f"{path} names columns more than once: {listing(repeated)}; give each its own name")


def _check_separator(path: Path, columns: list[str]) -> None:
    """Refuse what is no table of commas: one column with another separator in its name, or a pointer."""
    if columns[0].startswith("version https://git-lfs"):
        raise DataError(f"{path} is a Git LFS pointer, not the table; fetch it with `git lfs pull`")
    separators = [name for sign, name in ((";", "semicolons"), ("\t", "tabs")) if sign in columns[0]]
    if len(columns) == 1 and separators:
        raise DataError(f"{path} is separated by {separators[0]}; save it with commas")


def _whole_rows(path: Path, width: int, lines: Iterable[list[str]]) -> Iterator[tuple[str, ...]]:
    """The lines as rows; raises after the last one if any has another number of cells."""
    bad = []
    for number, line in enumerate(lines, start=1):
        if len(line) == width:
            yield tuple(line)
        else:
            bad.append(f"row {number} has {len(line)}")
    if bad:
        raise DataError(
            f"{path}: the header has {width} columns but {listing(bad)}; quote texts that hold commas"
        )


def _read_json_lines(path: Path, handle: TextIO) -> Table:
    names: dict[str, None] = {}
    objects = OnDisk(_objects(path, handle, names))
    if not objects:
        raise DataError(f"{path} is empty; it needs one JSON object a line")
    columns = tuple(names)
    return Table(path, columns, OnDisk(tuple(row.get(name, "") for name in columns) for row in objects))


def _objects(path: Path, handle: TextIO, names: dict[str, None]) -> Iterator[dict[str, str]]:
    """The object of each line, its names put into `names`; raises after the last one if any line has none."""
    bad = []
    for number, line in enumerate((line for line in handle if line.strip()), start=1):
        parsed = _parse_object(line)
        if parsed is None:
            bad.append(str(number))
        else:
            names |= dict.fromkeys(parsed)
            yield parsed
    if bad:
        raise DataError(
            f"{path}: rows {listing(bad)} are no JSON objects with plain values, each name once; write one "
            "object a line"
        )


def _parse_object(line: str) -> dict[str, str] | None:
    try:
        parsed = json.loads(line, object_pairs_hook=_named_once)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict) or any(isinstance(value, (dict, list)) for value in parsed.values()):
        return None
    row = {name: "" if value is None else str(value) for name, value in parsed.items()}
    return row if all(is_unicode(text) for pair in row.items() for text in pair) else None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; one that has a name twice would silently lose a value."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name twice")
    return found


def _read_parquet(path: Path) -> Table:
    try:
        content = pq.ParquetFile(path)
        schema = content.schema_arrow
        nested = [field.name for field in schema if not _is_plain(field.type)]
        if nested:
            raise DataError(
                f"{path}: columns {listing(nested)} hold no plain values; leave them out, and write films as "
                "files whose paths are in the table"
            )
        repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if repeated:
            raise DataError(
                f"{path} names columns more than once: {listing(repeated)}; give each its own name"
            )
        rows = OnDisk(_parquet_rows(content))
    except (OSError, pa.ArrowException, UnicodeDecodeError) as fault:
        raise DataError(f"{path} cannot be read as Parquet: {str(fault).splitlines()[0]}") from fault
    return Table(path, tuple(schema.names), rows)


def _parquet_rows(content: pq.ParquetFile) -> Iterator[tuple[str, ...]]:
    for batch in content.iter_batches(batch_size=CHUNK):
        columns = [[_cell_text(value) for value in column.to_pylist()] for column in batch.columns]
        yield from zip(*columns, strict=True)


def _is_plain(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return not (pa.types.is_nested(value) or pa.types.is_binary(value) or pa.types.is_large_binary(value))


def _cell_text(value: Any) -> str:
    """A value as a CSV would show it: truth as 1 and 0, nothing and NaN as blank."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)
