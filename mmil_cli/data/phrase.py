"""A phrase with the places it was found at in one film, and the rows of tables it is put together from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmil_cli.data.geometry import Box
from mmil_cli.data.sentences import has_words
from mmil_cli.errors import DataError, listing


@dataclass(frozen=True)
class Phrase:
    """A phrase, and where it was found in one film.

    Attributes:
        image_id: of the film.
        category: the finding it belongs to.
        text: the words.
        boxes: in pixels of the film; together they are one mask. None where there is a mask.
        width, height: of the film, in pixels, as the table tells them; 0 where it does not, and 1 where boxes
            are shares of the film.
        split: as the table tells it; "" where it does not.
        row: the first of its rows, counted from 1 below the header.
        masks: files of masks of the film's size, in place of boxes; together they are one mask.
    """

    image_id: str
    category: str
    text: str
    boxes: tuple[Box, ...]
    width: int
    height: int
    split: str
    row: int
    masks: tuple[Path, ...] = ()


@dataclass(frozen=True)
class BoxRow:
    """One box, or mask, of a table; `width` and `height` are 0 where the table does not tell them."""

    row: int
    image_id: str
    category: str
    text: str
    box: Box | None
    width: float = 0.0
    height: float = 0.0
    split: str = ""
    mask: Path | None = None


def gather_phrases(rows: Sequence[BoxRow], problems: Sequence[str], path: Path) -> list[Phrase]:
    """The phrases of a table in the order of their first rows; rows of one film and text are one phrase.

    A phrase that occurs under two categories of one film counts for the first.

    Raises:
        DataError: no row, or rows that cannot be used: all of them are named, with what is wrong.
    """
    if not rows and not problems:
        raise DataError(f"{path} holds no phrase; it needs one row a box")
    groups: dict[tuple[str, str], list[BoxRow]] = {}
    for row in rows:
        groups.setdefault((row.image_id, row.text), []).append(row)
    found = list(problems)
    for group in groups.values():
        first = group[0]
        found += [
            f"row {row.row}: gives its film another size than row {first.row}"
            for row in group[1:]
            if (row.width, row.height) != (first.width, first.height)
        ]
    if found:
        raise DataError(f"{path}: {len(found)} rows cannot be used; {listing(found)}")
    return [_phrase(group) for group in groups.values()]


def _phrase(rows: Sequence[BoxRow]) -> Phrase:
    first = rows[0]
    return Phrase(
        first.image_id,
        first.category,
        first.text,
        tuple(dict.fromkeys(row.box for row in rows if row.box)),
        round(first.width),
        round(first.height),
        first.split,
        first.row,
        tuple(dict.fromkeys(row.mask for row in rows if row.mask)),
    )


LEAST_INSIDE = 0.25
"""Share of a box that must lie in its film: annotators draw a little beyond the border, and boxes that lie
further out are of a film of another size."""


def box_fault(box: Box, *, width: float, height: float) -> str:
    """What is wrong with a box in a film of some size, or nothing; a size of 0 is unknown."""
    x, y, box_width, box_height = box
    if min(box_width, box_height) <= 0:
        return "the width and height of a box must be above 0"
    inside = _share_inside(x, box_width, width) * _share_inside(y, box_height, height)
    if inside < LEAST_INSIDE:
        shown = ", ".join(f"{value:g}" for value in box)
        of = f" of {width:g} x {height:g} pixels" if width else ""
        return f"the box ({shown}) lies {'' if inside == 0 else 'mostly '}outside its film{of}"
    return ""


def _share_inside(start: float, length: float, end: float) -> float:
    """Which share of a span lies from 0 to the end of a film; an end of 0 is unknown."""
    last = min(start + length, end) if end else start + length
    return max(0.0, last - max(start, 0.0)) / length


def spoken(category: str) -> str:
    """A category's name as words to look for: `Lung_Opacity` is `lung opacity`."""
    return " ".join(category.replace("_", " ").replace("/", " or ").split()).lower()


def row_fault(image_id: str, category: str, text: str) -> str:
    """What is wrong with the words of a row, or nothing."""
    if not image_id:
        return "names no film"
    if not category:
        return "names no finding"
    return "" if has_words(text) else f"{text!r} has no words"


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A mask [H, W] of a PNG (inside is above half of its range) or a .npy (inside is True, or above 0).

    Raises:
        DataError: the file cannot be read, or is no single picture.
    """
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
            mask = values if values.dtype == bool else values > 0
        else:
            with Image.open(path, formats=["PNG"]) as image:
                mask = np.asarray(image.convert("L")) > 127
    except (OSError, ValueError, SyntaxError, EOFError) as fault:
        raise DataError(f"{path} is no mask (PNG or .npy): {fault}") from fault
    if mask.ndim != 2:
        raise DataError(f"{path} is no mask of one film: its shape is {mask.shape}")
    return np.asarray(mask, bool)
