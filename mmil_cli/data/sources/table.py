"""A plain table, CSV, JSON Lines or Parquet: one row an image."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mmil_cli.data.dates import parse_dates
from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.on_disk import OnDisk
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.sources.source import Source
from mmil_cli.data.splits import normalise_split
from mmil_cli.data.tables import TABLE_SUFFIXES, LabelColumn, Table, is_label, label_column, read_table
from mmil_cli.errors import DataError, UsageError, listing, nearest

FIELDS = ("image", "report", "report_path", "image_id", "study_id", "patient_id", "view", "split")
"""What a column can be; `image` and one of `report` and `report_path` are needed."""

DATE = "study_date"
"""A field of its own: read for --study-days and else not at all."""

_FLOAT = re.compile(r"\d+\.0")
_NEARLY_LABELS = 0.9
_WORDS_OF_TEXT = 5
"""A column of so many words a cell, on average, may hold reports."""


def find(path: Path, options: SourceOptions) -> Manifest:
    """The records of a table.

    A missing or blank id falls back: image_id to the file name without its suffix, study_id to image_id,
    patient_id to study_id.

    Raises:
        UsageError: a needed or named column is not there.
        DataError: the table cannot be read, or a named label column holds anything but labels.
    """
    table = read_table(path)
    if not table.rows:
        raise DataError(f"{path} names columns but has no row; it needs one row an image")
    columns = _columns(table, options.columns, needs_report=not options.labels_only, dated=options.study_days)
    labels, notes = _label_columns(table, columns, options)
    graded = {name: label_column(table.column(name), column=name, path=path) for name in labels}
    dates = _dates(table, columns)
    rows = _Rows(table, columns, graded, dates, (options.root or path.parent).absolute())
    records = OnDisk(rows.record(number, row) for number, row in enumerate(table.rows, start=1))
    asked = (
        *((f"column {field}", name) for field, name in sorted(columns.items())),
        ("labels", ",".join(labels)),
    )
    return Manifest(
        "table",
        rows.root,
        records,
        tuple(name for column in graded.values() for name in column.names),
        asked,
        (*notes, *_id_notes(table, columns, options.columns)),
    )


@dataclass(frozen=True)
class _Rows:
    """Reads fields out of the rows of a table."""

    table: Table
    columns: Mapping[str, str]
    labels: Mapping[str, LabelColumn]
    dates: Sequence[date | None]
    root: Path

    def record(self, number: int, row: Sequence[str]) -> Record:
        image = self._path(row, "image")
        image_id = self._text(row, "image_id") or (image.stem if image else f"row-{number}")
        study_id = self._text(row, "study_id") or image_id
        return Record(
            image=image,
            image_id=image_id,
            study_id=study_id,
            patient_id=self._text(row, "patient_id") or study_id,
            split=normalise_split(self._text(row, "split")),
            view=self._text(row, "view") or None,
            report=self._text(row, "report") if "report" in self.columns else None,
            report_path=None if "report" in self.columns else self._path(row, "report_path"),
            labels=tuple(
                label
                for name, column in self.labels.items()
                for label in column.labels(row[self.table.place(name)])
            ),
            taken_on=self.dates[number - 1],
        )

    def _text(self, row: Sequence[str], field: str) -> str:
        if field not in self.columns:
            return ""
        return row[self.table.place(self.columns[field])].strip()

    def _path(self, row: Sequence[str], field: str) -> Path | None:
        text = self._text(row, field)
        return self.root / text if text else None


def _dates(table: Table, columns: Mapping[str, str]) -> list[date | None]:
    if DATE not in columns:
        return [None] * len(table.rows)
    return parse_dates(table.column(columns[DATE]), column=columns[DATE], path=table.path)


def _columns(table: Table, asked: Mapping[str, str], *, needs_report: bool, dated: bool) -> dict[str, str]:
    """Which column holds each field: as asked, else the column of the field's own name."""
    fields = (*FIELDS, DATE) if dated else FIELDS
    for field, name in asked.items():
        if field == DATE and not dated:
            raise UsageError(f"--column {field}={name} is read for --study-days alone; give both or neither")
        if field not in fields:
            raise UsageError(f"--column {field}={name}: {field!r} is no field{nearest(field, fields)}; "
                             f"fields: {', '.join((*FIELDS, DATE))}")  # fmt: skip
        if name not in table.columns:
            raise UsageError(f"--column {field}={name}: {_without(table, name)}")
    if "report" in asked and "report_path" in asked:
        raise UsageError("--column names both report and report_path; a report comes from one of them")
    columns = {field: field for field in fields if field in table.columns} | dict(asked)
    if dated and DATE not in columns:
        raise UsageError(f"--study-days: {_without(table, DATE)}; say which one with --column {DATE}=NAME")
    if "report_path" in asked:
        columns.pop("report", None)
    if "image" not in columns:
        raise UsageError(
            f"{_without(table, 'image')}; say which one holds the films with --column image=NAME"
        )
    if needs_report and not {"report", "report_path"} & set(columns):
        raise UsageError(
            f"{_without(table, 'report')}; say which one holds the reports with --column report=NAME "
            f"(the text) or --column report_path=NAME (a file), or do without with "
            f"--labels-only{_texts(table)}"
        )
    return columns


def _without(table: Table, name: str) -> str:
    near = nearest(name, table.columns)
    return f"{table.path.name} has no column {name!r}{near}; it has: {listing(table.columns, 20)}"


def _texts(table: Table) -> str:
    """The columns that read like reports, as a clause; nothing where there are none."""
    likely = []
    for name in table.columns:
        filled = [len(text.split()) for text in table.column(name) if text.strip()]
        if filled and sum(filled) >= _WORDS_OF_TEXT * len(filled):
            likely.append(repr(name))
    return f"; columns that hold text: {listing(likely)}" if likely else ""


def _label_columns(
    table: Table, columns: Mapping[str, str], options: SourceOptions
) -> tuple[list[str], list[str]]:
    """The label columns, and what to tell of those that were left alone."""
    asked = options.labels
    if asked is not None:
        unknown = [name for name in asked if name not in table.columns]
        if unknown:
            raise UsageError(f"--labels: {_without(table, unknown[0])}")
        if repeated := sorted({name for name in asked if asked.count(name) > 1}):
            raise UsageError(f"--labels names {listing(repeated)} more than once; each column is one finding")
        return list(asked), []
    others = [name for name in table.columns if name and name not in columns.values()]
    shares = {name: _label_share(table.column(name)) for name in others}
    taken = [name for name, share in shares.items() if share == 1]
    return taken, [*_taken_note(taken), *_nearly_notes(table, shares, options)]


def _taken_note(taken: Sequence[str]) -> list[str]:
    if not taken:
        return []
    return [
        f"{len(taken)} columns hold nothing but 1, 0, -1 and blanks and are taken for labels; "
        "--labels A,B,C chooses"
    ]


def _nearly_notes(table: Table, shares: Mapping[str, float], options: SourceOptions) -> list[str]:
    """The columns that a stray value may have kept from being labels, with one such value each."""
    nearly = []
    for name, share in shares.items():
        if _NEARLY_LABELS <= share < 1:
            stray = next(text for text in table.column(name) if text.strip() and not is_label(text))
            nearly.append(f"{name!r}{options.some([f'it holds {stray.strip()!r}'])}")
    if not nearly:
        return []
    return [f"not taken for labels, for not all their values are 1, 0, -1 or blank: {listing(nearly)}"]


def _label_share(values: Iterable[str]) -> float:
    """Share of label values among the cells that are filled; 0 when none is."""
    filled = labels = 0
    for text in values:
        if text.strip():
            filled += 1
            labels += is_label(text)
    return labels / filled if filled else 0.0


def _id_notes(table: Table, columns: Mapping[str, str], asked: Mapping[str, str]) -> list[str]:
    notes = []
    if "patient_id" not in columns:
        near = nearest("patient_id", table.columns)
        instead = "studies" if "study_id" in columns else "images"
        notes.append(f"no column 'patient_id'{near}; {instead} count as patients: name one with --column "
                     "patient_id=NAME where a patient has several")  # fmt: skip
    elif blank := sum(not text.strip() for text in table.column(columns["patient_id"])):
        notes.append(f"{blank} rows have no patient id and count as patients of their own")
    for field in sorted({"patient_id", "study_id", "image_id"} & set(columns)):
        if _are_floats(table.column(columns[field])):
            notes.append(
                f"the ids of column {columns[field]!r} end in .0, as pandas writes numbers beside blanks; "
                "they are taken as they are, and other tables and lists must have them so"
            )
    if "report" in columns and "report_path" in columns and "report" not in asked:
        notes.append("columns 'report' and 'report_path' are both there; the text of 'report' is used")
    return notes


def _are_floats(texts: Iterable[str]) -> bool:
    """Whether all filled cells are whole numbers with a decimal point, and there is one."""
    endings = {bool(_FLOAT.fullmatch(text.strip())) for text in texts if text.strip()}
    return endings == {True}


def _is_table(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(TABLE_SUFFIXES)


SOURCE = Source(
    name="table",
    title="a table",
    needs=f"a file of one row an image ({', '.join(TABLE_SUFFIXES)}) with the columns image and report",
    recognises=_is_table,
    find=find,
    takes=frozenset({"columns", "labels", "root"}),
    has_dates=True,
)
