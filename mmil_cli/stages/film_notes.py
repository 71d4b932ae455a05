"""How a film differs from those that a model has seen, where that can be told: colour, view, blankness."""

from pathlib import Path

import numpy as np
from PIL import Image

from mmil_cli.config.recipe import Recipe
from mmil_cli.data.checks import read_head
from mmil_cli.data.dicom import looks_like_dicom
from mmil_cli.stages.film import OpenedFilm

COLOURFUL, COLOURED = 40, 0.02
"""Levels between the highest and lowest of a pixel's red, green and blue, and the share of such pixels from
which a picture is called coloured: a tinted scan stays below, a photograph or a drawing is above."""

BLANK_LEVELS = 8
"""A film is called nearly blank whose 1st and 99th percentile of 256 levels lie no further apart."""

LATERAL = "LATERAL"


def film_notes(film: OpenedFilm, recipe: Recipe) -> tuple[str, ...]:
    """One sentence for each way in which a film is unlike the films of the training, by its recipe."""
    found = []
    share = colour_share(film.path)
    if share >= COLOURED:
        found.append(f"{film.path.name} is in colour ({share:.0%} of it); the model has seen grey films only")
    views = recipe.data.views
    if film.view and views and film.view not in views:
        found.append(
            f"{film.path.name} is a film of view {film.view}; the model has seen {', '.join(views)} only"
        )
    elif film.view == LATERAL and not views:
        found.append(f"{film.path.name} is a lateral film; left and right cannot be told apart in it")
    low, high = np.percentile(film.pixels[::4, ::4], [1, 99])
    if high - low <= BLANK_LEVELS:
        found.append(f"{film.path.name} is nearly blank; whatever is found in it means nothing")
    height, width = film.pixels.shape
    if min(height, width) < recipe.image.size / 2:
        found.append(
            f"{film.path.name} has {width} x {height} pixels; the model looks at "
            f"{recipe.image.size}, so that it is enlarged"
        )
    return tuple(found)


def colour_share(path: Path) -> float:
    """The share of a picture's or DICOM's pixels that are clearly coloured; 0 of what is stored in grey."""
    if not path.is_file():
        return 0.0
    if looks_like_dicom(read_head(path)):
        return _dicom_colour(path)
    with Image.open(path) as image:
        if image.mode not in ("RGB", "RGBA", "P", "CMYK", "YCbCr"):
            return 0.0
        image.thumbnail((128, 128))
        return _coloured(np.asarray(image.convert("RGB")))


def _dicom_colour(path: Path) -> float:
    """Of a header that names a colour space: the picture is looked at; a grey film kept as RGB has none."""
    from pydicom import dcmread

    header = dcmread(path, stop_before_pixels=True, force=True)
    if str(header.get("PhotometricInterpretation", "")).startswith("MONOCHROME"):
        return 0.0
    pixels = np.asarray(dcmread(path, force=True).pixel_array)
    if pixels.ndim < 3 or pixels.shape[-1] != 3:
        return 0.0
    return _coloured(pixels.reshape(-1, *pixels.shape[-3:])[0, ::8, ::8])


def _coloured(pixels: np.ndarray) -> float:
    spread = pixels.max(axis=-1).astype(int) - pixels.min(axis=-1)
    return float((spread > COLOURFUL).mean())
