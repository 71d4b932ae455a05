"""A table of phrases and their boxes, in the CSV or JSON form of MS-CXR v1.1.0: one row a box."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmil_cli.data.coco import SUFFIX, read_coco
from mmil_cli.data.geometry import Box
from mmil_cli.data.sentences import has_words
from mmil_cli.data.tables import Table, read_table
from mmil_cli.errors import DataError, UsageError, listing, nearest

TEXT_COLUMNS = ("category_name", "label_text")
NUMBER_COLUMNS = ("x", "y", "w", "h", "image_width", "image_height")
ID_COLUMNS = ("dicom_id", "path")


@dataclass(frozen=True)
class Phrase:
    """A phrase, and where it was found in one film.

    Attributes:
        image_id: of the film.
        category: the finding it belongs to.
        text: the words.
        boxes: in pixels of the film; together they are one mask.
        width, height: of the film, in pixels, as the table tells them.
        split: as the table tells it; "" where it does not.
        row: the first of its rows, counted from 1 below the header.
    """

    image_id: str
    category: str
    text: str
    boxes: tuple[Box, ...]
    width: int
    height: int
    split: str
    row: int


@dataclass(frozen=True)
class _BoxRow:
    row: int
    image_id: str
    category: str
    text: str
    box: Box
    width: float
    height: float
    split: str


def read_phrases(path: Path) -> list[Phrase]:
    """The phrases of a table in the order of their first rows; rows of one film and text are one phrase.

    The id of a film is its `dicom_id`, else the file name in `path` without its suffix. A phrase that
    occurs under two categories of one film counts for the first. `split` may be missing.

    Raises:
        UsageError: a column is missing.
        DataError: no row, or rows that cannot be: all of them are named, with what is wrong.
    """
    table = read_coco(path) if path.name.lower().endswith(SUFFIX) else read_table(path)
    _check_columns(table)
    if not table.rows:
        raise DataError(f"{path} holds no phrase; it needs one row a box")
    rows, problems = [], []
    for number, values in enumerate(table.rows, start=1):
        cells = {name: value.strip() for name, value in zip(table.columns, values, strict=True)}
        found = _problem(cells)
        if found:
            problems.append(f"row {number}: {found}")
        else:
            rows.append(_box_row(number, cells))
    grouped = _group(rows)
    problems += [f"row {part.row}: {fault}" for rows in grouped for part, fault in _size_faults(rows)]
    if problems:
        raise DataError(f"{path}: {len(problems)} rows cannot be used; {listing(problems)}")
    return [_phrase(rows) for rows in grouped]


def _check_columns(table: Table) -> None:
    missing = [name for name in (*TEXT_COLUMNS, *NUMBER_COLUMNS) if name not in table.columns]
    clauses = [_with_guess(name, table.columns) for name in missing]
    if not any(name in table.columns for name in ID_COLUMNS):
        clauses.append("dicom_id or path")
    if clauses:
        needed = ", ".join((*TEXT_COLUMNS, *NUMBER_COLUMNS))
        raise UsageError(
            f"{table.path} lacks the columns {listing(clauses, 20)}. A table of phrases has one row a box, "
            f"as in MS-CXR: dicom_id or path, {needed}, and perhaps split"
        )


def _with_guess(name: str, known: Sequence[str]) -> str:
    guess = nearest(name, known).removeprefix("; ")
    return f"{name} ({guess})" if guess else name


def _problem(cells: dict[str, str]) -> str:
    """What is wrong with a row, or nothing."""
    if not _image_id(cells):
        return "names no film (dicom_id or path)"
    if not has_words(cells["label_text"]):
        return f"label_text {cells['label_text']!r} has no words"
    if not cells["category_name"]:
        return "category_name is blank"
    bad = [name for name in NUMBER_COLUMNS if not math.isfinite(_number(cells[name]))]
    if bad:
        return f"no number in {', '.join(f'{name} ({cells[name]!r})' for name in bad)}"
    x, y, box_width, box_height, width, height = (_number(cells[name]) for name in NUMBER_COLUMNS)
    if min(box_width, box_height, width, height) <= 0:
        return "w, h, image_width and image_height must be above 0"
    if x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0:
        box = ", ".join(f"{value:g}" for value in (x, y, box_width, box_height))
        return f"the box ({box}) lies outside its film of {width:g} x {height:g} pixels"
    return ""


def _box_row(number: int, cells: dict[str, str]) -> _BoxRow:
    x, y, box_width, box_height, width, height = (_number(cells[name]) for name in NUMBER_COLUMNS)
    return _BoxRow(
        row=number,
        image_id=_image_id(cells),
        category=cells["category_name"],
        text=cells["label_text"],
        box=(x, y, box_width, box_height),
        width=width,
        height=height,
        split=cells.get("split", ""),
    )


def _image_id(cells: dict[str, str]) -> str:
    return cells.get("dicom_id", "") or PurePosixPath(cells.get("path", "")).stem


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _group(rows: Sequence[_BoxRow]) -> list[list[_BoxRow]]:
    groups: dict[tuple[str, str], list[_BoxRow]] = {}
    for row in rows:
        groups.setdefault((row.image_id, row.text), []).append(row)
    return list(groups.values())


def _size_faults(rows: Sequence[_BoxRow]) -> Iterator[tuple[_BoxRow, str]]:
    first = rows[0]
    for row in rows[1:]:
        if (row.width, row.height) != (first.width, first.height):
            yield row, f"gives its film another size than row {first.row}"


def _phrase(rows: Sequence[_BoxRow]) -> Phrase:
    first = rows[0]
    boxes = tuple(dict.fromkeys(row.box for row in rows))
    return Phrase(
        first.image_id,
        first.category,
        first.text,
        boxes,
        round(first.width),
        round(first.height),
        first.split,
        first.row,
    )
