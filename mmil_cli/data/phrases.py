"""Tables of phrases and their boxes: in the CSV form of MS-CXR v1.1.0, one row a box, or in another."""

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mmil_cli.data.phrase import BoxRow, Phrase, box_fault, gather_phrases
from mmil_cli.data.phrase_forms import FORMS, form_of, is_nih, read_coco, read_nih
from mmil_cli.data.sentences import has_words
from mmil_cli.data.tables import Table, read_table
from mmil_cli.errors import DataError, UsageError, listing, nearest

__all__ = ["Phrase", "read_phrases"]

TEXT_COLUMNS = ("category_name", "label_text")
NUMBER_COLUMNS = ("x", "y", "w", "h", "image_width", "image_height")
ID_COLUMNS = ("dicom_id", "path")


def read_phrases(path: Path) -> list[Phrase]:
    """The phrases of a table in the order of their first rows; rows of one film and text are one phrase.

    In the form of MS-CXR the id of a film is its `dicom_id`, else the file name in `path` without its suffix.
    A phrase that occurs under two categories of one film counts for the first. `split` may be missing. Of
    the other forms (`data.phrase_forms`) most have no words: a box is then called by its finding.

    Raises:
        UsageError: a column is missing.
        DataError: no row, or rows that cannot be: all of them are named, with what is wrong.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there; --phrases takes a table of phrases and boxes")
    if path.suffix.lower() == ".json":
        return gather_phrases(*read_coco(path), path)
    if is_nih(path):
        return gather_phrases(*read_nih(path), path)
    table = read_table(path)
    read = form_of(table)
    if read:
        return gather_phrases(*read(table), path)
    _check_columns(table)
    rows, problems = [], []
    for number, values in enumerate(table.rows, start=1):
        cells = {name: value.strip() for name, value in zip(table.columns, values, strict=True)}
        found = _problem(cells)
        if found:
            problems.append(f"row {number}: {found}")
        else:
            rows.append(_box_row(number, cells))
    return gather_phrases(rows, problems, path)


def _check_columns(table: Table) -> None:
    missing = [name for name in (*TEXT_COLUMNS, *NUMBER_COLUMNS) if name not in table.columns]
    clauses = [_with_guess(name, table.columns) for name in missing]
    if not any(name in table.columns for name in ID_COLUMNS):
        clauses.append("dicom_id or path")
    if clauses:
        needed = ", ".join((*TEXT_COLUMNS, *NUMBER_COLUMNS))
        raise UsageError(
            f"{table.path} lacks the columns {listing(clauses, 20)}. A table of phrases has one row a box, "
            f"as in MS-CXR: dicom_id or path, {needed}, and perhaps split; or it is {FORMS}"
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
    return box_fault((x, y, box_width, box_height), width=width, height=height)


def _box_row(number: int, cells: dict[str, str]) -> BoxRow:
    x, y, box_width, box_height, width, height = (_number(cells[name]) for name in NUMBER_COLUMNS)
    return BoxRow(
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
