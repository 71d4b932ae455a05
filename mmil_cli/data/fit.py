"""From a stored film to the square an encoder sees, and the way back."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmil_cli.data.geometry import Affine

Fit = Literal["pad", "crop"]


@dataclass(frozen=True, eq=False)
class FittedFilm:
    """A film fitted into a square.

    Attributes:
        pixels: uint8 [size, size]; black where there is no film.
        cover: where the film lies in the square: left, top, right, bottom, as shares of its side.
        to_stored: maps continuous pixel coordinates of the square to those of the stored film.
    """

    pixels: NDArray[np.uint8]
    cover: tuple[float, float, float, float]
    to_stored: Affine


def fit_film(pixels: NDArray[np.uint8], *, size: int, fit: Fit) -> FittedFilm:
    """The film resized, aspect kept, and centred in a square of `size` pixels.

    `pad` fits the long side, so that the whole film is seen (costophrenic angles lie at the edge);
    `crop` fits the short side and loses what sticks out.
    """
    height, width = pixels.shape
    scale = size / (max(height, width) if fit == "pad" else min(height, width))
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    resized = _resize(pixels, new_height, new_width)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    square = np.zeros((size, size), np.uint8)
    square[_inside(top, new_height, size), _inside(left, new_width, size)] = resized[
        _inside(-top, size, new_height), _inside(-left, size, new_width)
    ]
    to_stored = Affine(
        scale_x=width / new_width,
        scale_y=height / new_height,
        offset_x=-left * width / new_width,
        offset_y=-top * height / new_height,
    )
    cover = (left / size, top / size, (left + new_width) / size, (top + new_height) / size)
    return FittedFilm(
        square, (max(0.0, cover[0]), max(0.0, cover[1]), min(1.0, cover[2]), min(1.0, cover[3])), to_stored
    )


def _inside(start: int, length: int, limit: int) -> slice:
    return slice(max(0, start), min(limit, start + length))


def _resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if pixels.shape == (height, width):
        return pixels
    return np.asarray(
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    )
