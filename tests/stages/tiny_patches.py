"""Generated films whose reports name patches by their look, never by their place: something to point at."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH, PATCH = 150, 105, 36
"""Of the film files, in pixels; the stored films are half as large."""

NUM_FILMS = {"train": 120, "validate": 12, "test": 40}
WORDS = {
    "Bright": ("There is a bright patch.", "A bright spot is seen.", "Bright opacity."),
    "Dark": ("There is a dark patch.", "A dark spot is seen.", "Dark lucency."),
    "Stripes": ("There are vertical stripes.", "Vertical lines are seen.", "Striped area."),
}
BOX_COLUMNS = ("dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h",
               "image_width", "image_height", "split")  # fmt: skip


def draw_patch(pixels: np.ndarray, kind: str, x: int, y: int) -> None:
    part = pixels[y : y + PATCH, x : x + PATCH]
    if kind == "Stripes":
        part += np.where(np.arange(PATCH) % 12 < 6, 50.0, -50.0)
    else:
        part += 80.0 if kind == "Bright" else -80.0


def places(number: int, generator: np.random.Generator) -> list[tuple[int, int]]:
    """Left and top edges of patches that do not touch: each in a half of the film of its own."""
    halves = generator.permutation([4, HEIGHT // 2 + 2])[:number]
    room = (WIDTH - PATCH - 4, HEIGHT // 2 - PATCH - 6)
    return [
        (int(generator.integers(4, room[0])), int(top + generator.integers(0, room[1]))) for top in halves
    ]


def write(folder: Path, *, seed: int = 0) -> tuple[Path, Path]:
    """Films, the table to preprocess, and the table of phrases and boxes."""
    generator = np.random.default_rng(seed)
    films, boxes = [], []
    for split, number in NUM_FILMS.items():
        for index in range(number):
            image_id = f"{split}{index:03}"
            pixels = generator.normal(120, 10, (HEIGHT, WIDTH))
            kinds = [str(kind) for kind in generator.permutation(list(WORDS))[: generator.integers(1, 3)]]
            texts = [str(generator.choice(WORDS[kind])) for kind in kinds]
            for kind, text, (x, y) in zip(kinds, texts, places(len(kinds), generator), strict=True):
                draw_patch(pixels, kind, x, y)
                path = f"files/{image_id}.png"
                boxes.append((image_id, kind, text, path, x, y, PATCH, PATCH, WIDTH, HEIGHT, split))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{image_id}.png")
            films.append((f"{image_id}.png", " ".join(texts), f"p{split}{index // 2}", split))
    write_csv(folder / "table.csv", ("image", "report", "patient_id", "split"), films)
    write_csv(folder / "phrases.csv", BOX_COLUMNS, boxes)
    return folder / "table.csv", folder / "phrases.csv"


def write_csv(path: Path, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([columns, *rows])
