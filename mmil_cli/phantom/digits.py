"""Mosaics of handwritten digits with captions and boxes: image and text that are no radiology at all.

The digits are those that come with scikit-learn: 1797 scans of 8 x 8 pixels (Alpaydin and Kaynak 1998, UCI
Optical Recognition of Handwritten Digits, its test part). Every cell of a mosaic has a digit, so that no
text can be told from where ink is, and the digits of a mosaic differ. Who wrote them is not told, so writers
may lie in several splits; an image of a digit lies in one only.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from mmil_cli.phantom.digit_captions import DIGITS, GRID, PlacedDigit, Statement, caption, statements
from mmil_cli.phantom.study import Cells
from mmil_cli.phantom.tables import BOX_COLUMNS

SPLITS = {"train": 0.7, "validate": 0.1, "test": 0.2}
"""Share of the digits, and of the mosaics, of each split."""

CELL = 48
SIDE = GRID * CELL
"""Pixels of a cell and of a mosaic."""

SMALLEST, LARGEST = 28, 44
"""Pixels of a side of a digit in its cell."""

BRIGHTEST = 16
"""Of the scans."""

INK = 0.25
"""Share of full brightness from which a pixel belongs to its digit's box."""

NOISE = 12.0
"""Standard deviation of the background, of 255."""

TABLE, PHRASES, IMAGES = "mosaics.csv", "phrases.csv", "images"


@dataclass(frozen=True, eq=False)
class Mosaic:
    """One picture with all that is known of it.

    Attributes:
        name: of its image, study and patient.
        split: that its digits belong to.
        pixels: [SIDE, SIDE], 8 bit.
        digits: what lies where.
        boxes: of the ink of each, x, y, width, height in pixels.
        caption: what is said of it.
        statements: sentences to ground, each on one of its digits.
        scans: the number of the scan of each digit.
    """

    name: str
    split: str
    pixels: np.ndarray
    digits: tuple[PlacedDigit, ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    caption: str
    statements: tuple[Statement, ...]
    scans: tuple[int, ...]


def draw_mosaics(number: int, *, seed: int) -> Iterator[Mosaic]:
    """So many mosaics, split after split; the first of a seed do not depend on how many there are.

    Args:
        number: of mosaics, at least 10.
        seed: of all that is random.
    """
    for place, (split, count) in enumerate(_counts(number).items()):
        scans = _scans_of(split, seed)
        for index in range(count):
            generator = np.random.default_rng([seed, place, index])
            yield _draw(generator, scans, name=f"{split}-{index:05d}", split=split)


def write_mosaics(folder: Path, *, number: int, seed: int) -> None:
    """Writes pictures, the table that `mmil preprocess` reads and the phrases with their boxes."""
    (folder / IMAGES).mkdir(parents=True)
    rows: list[Cells] = []
    phrases: list[Cells] = []
    for mosaic in draw_mosaics(number, seed=seed):
        Image.fromarray(mosaic.pixels).save(folder / IMAGES / f"{mosaic.name}.png")
        rows.append(_row(mosaic))
        phrases += _phrases(mosaic)
    columns = ("image", "report", "image_id", "study_id", "patient_id", "split", *DIGITS)
    (folder / TABLE).write_text(_csv(columns, rows), encoding="utf-8")
    (folder / PHRASES).write_text(_csv(BOX_COLUMNS, phrases), encoding="utf-8")


def _counts(number: int) -> dict[str, int]:
    """Mosaics of each split; train has what rounding leaves."""
    others = {split: round(share * number) for split, share in SPLITS.items() if split != "train"}
    return {"train": number - sum(others.values()), **others}


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Scans [1797, 8, 8] from 0 to 1 and what they show [1797]."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images / BRIGHTEST, found.target


@cache
def _scans_of(split: str, seed: int) -> tuple[np.ndarray, ...]:
    """The numbers of a split's scans of each digit, 0 to 9; no scan is in two splits."""
    names, shares = list(SPLITS), np.cumsum(list(SPLITS.values()))
    generator = np.random.default_rng([seed, len(SPLITS)])
    parts = []
    for digit in range(10):
        scans = generator.permutation(np.flatnonzero(_digits()[1] == digit))
        cuts = np.round(shares[:-1] * len(scans)).astype(int)
        parts.append(np.split(scans, cuts)[names.index(split)])
    return tuple(parts)


def _draw(generator: np.random.Generator, scans: tuple[np.ndarray, ...], *, name: str, split: str) -> Mosaic:
    shown = generator.choice(10, size=GRID**2, replace=False)
    digits = tuple(PlacedDigit(int(digit), *divmod(cell, GRID)) for cell, digit in enumerate(shown))
    chosen = tuple(int(generator.choice(scans[digit])) for digit in shown)
    canvas = np.zeros((SIDE, SIDE))
    boxes = tuple(_paste(generator, canvas, digit, scan) for digit, scan in zip(digits, chosen, strict=True))
    noisy = 255 * canvas + generator.normal(2 * NOISE, NOISE, canvas.shape)
    return Mosaic(
        name=name,
        split=split,
        pixels=noisy.clip(0, 255).astype(np.uint8),
        digits=digits,
        boxes=boxes,
        caption=caption(generator, digits),
        statements=tuple(statements(generator, digits)),
        scans=chosen,
    )


def _paste(
    generator: np.random.Generator, canvas: np.ndarray, digit: PlacedDigit, scan: int
) -> tuple[int, int, int, int]:
    """Puts a scan anywhere in its cell, in a size of its own; the box of its ink."""
    side = int(generator.integers(SMALLEST, LARGEST + 1))
    small = Image.fromarray(_digits()[0][scan].astype(np.float32))
    drawn = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)).clip(0, 1)
    top, left = (
        CELL * cell + int(generator.integers(0, CELL - side + 1)) for cell in (digit.row, digit.column)
    )
    canvas[top : top + side, left : left + side] = drawn * generator.uniform(0.6, 1.0)
    rows, columns = (np.flatnonzero((drawn >= INK).any(axis=axis)) for axis in (1, 0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    return left + int(columns[0]), top + int(rows[0]), int(width), int(height)


def _row(mosaic: Mosaic) -> Cells:
    shown = {digit.digit for digit in mosaic.digits}
    labels = (int(digit in shown) for digit in range(10))
    image = f"{IMAGES}/{mosaic.name}.png"
    return (image, mosaic.caption, mosaic.name, mosaic.name, mosaic.name, mosaic.split, *labels)


def _phrases(mosaic: Mosaic) -> Iterator[Cells]:
    """In the form of MS-CXR."""
    for said in mosaic.statements:
        path = f"{IMAGES}/{mosaic.name}.png"
        box = mosaic.boxes[said.about]
        yield (mosaic.name, said.category, said.text, path, *box, SIDE, SIDE, mosaic.split)


def _csv(columns: tuple[str, ...], rows: list[Cells]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
