"""Generated studies small enough to learn from in seconds: bright squares in the corners of dark films."""

import csv
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64
SQUARE = 16
CORNERS = {"left upper": (4, 4), "left lower": (4, 44), "right upper": (44, 4), "right lower": (44, 44)}
"""Left and top edge of the square of each corner, in pixels; each moves by up to 3 pixels either way."""

NUM_STUDIES = {"train": 84, "validate": 12, "test": 36}
THERE = (
    "There is a bright square in the {} corner.",
    "Square in the {} corner.",
    "Bright {} square.",
)
NOT_THERE = ("No square in the {} corner.", "The {} corner is dark.")
PROMPTS = {
    f"{corner} square": {
        "positive": [text.format(corner) for text in THERE],
        "negative": [text.format(corner) for text in NOT_THERE],
    }
    for corner in CORNERS
}


@dataclass(frozen=True)
class Film:
    """One film of a study, with the truth."""

    pixels: np.ndarray
    boxes: dict[str, tuple[int, int, int, int]]


def label_name(corner: str) -> str:
    return f"{corner.title()} Square"


def draw_film(corners: list[str], generator: np.random.Generator) -> Film:
    pixels = generator.normal(60 + 30 * generator.random(), 12, (SIDE, SIDE))
    boxes = {}
    for corner in corners:
        x, y = np.array(CORNERS[corner]) + generator.integers(-3, 4, 2)
        pixels[y : y + SQUARE, x : x + SQUARE] += 70 + 50 * generator.random()
        boxes[corner] = (int(x), int(y), SQUARE, SQUARE)
    return Film(pixels.clip(0, 255).astype(np.uint8), boxes)


def write_report(corners: list[str], generator: np.random.Generator) -> str:
    sentences = [
        str(generator.choice(THERE if corner in corners else NOT_THERE)).format(corner) for corner in CORNERS
    ]
    return "FINDINGS: " + " ".join(generator.permutation(sentences))


def write_table(folder: Path, *, seed: int = 0) -> Path:
    """Films and a table of them: every third study has two films, every fourth patient two studies.

    The corners of each study are labelled 1 or 0; a fifth of the labels is missing, a tenth uncertain. The
    column `Never` has no positive film.
    """
    generator = np.random.default_rng(seed)
    rows, number, patient = [], count(), -1
    for split, num_studies in NUM_STUDIES.items():
        for study in range(num_studies):
            patient += int(study % 4 != 1)
            corners = [corner for corner in CORNERS if generator.random() < 0.5]
            labels = {label_name(corner): _label(corner in corners, generator) for corner in CORNERS}
            shared = {
                "report": write_report(corners, generator),
                "patient_id": f"p{patient:03}",
                "study_id": f"{split}-{study:03}",
                "split": split,
                **labels,
                "Never": "0",
            }
            for _ in range(2 if study % 3 == 0 else 1):
                name = f"film{next(number):03}.png"
                Image.fromarray(draw_film(corners, generator).pixels).save(folder / name)
                rows.append({"image": name, **shared})
    path = folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _label(there: bool, generator: np.random.Generator) -> str:
    draw = generator.random()
    return "" if draw < 0.2 else "-1" if draw < 0.3 else str(int(there))
