"""How alike two films are, whatever was done to their brightness, contrast or size. [ours]

Two measures of the ranks of a film's grey values, which no rising curve of brightness changes: a coarse one,
short enough to be kept for every film and compared with all others, and a fine one for the pairs it finds.

Measured on 702 generated films of 192 to 320 pixels and 193 real ones of 256, with eleven copies of each: 25
levels brighter or darker, 0.6 or 1.3 times the contrast, gamma 0.6 or 1.6, half or 1.6 times the size, JPEG,
equalised, flatter and halved. Found are all but 2 of 7,722 generated and 99.3 % of the real copies (most of
the others lost grey levels at black or white), and of 72,447 pairs of different films none; the real set has
one film twice, which was found. The nearest miss, .84 by the fine measure, is of generated films, which share
their anatomy; of real films no other pair came past the coarse measure. The limits were chosen on all these
but 204 generated films. Films that were cropped, turned or mirrored are not found.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

ALIKE_COARSE, ALIKE_FINE = 0.95, 0.86
"""Pairs above both are taken for one film."""

_SIDE, _WAVES = 32, 12
_FINE_SIDE, _FINE_BLUR = 96, 3.0
_BLOCK = 1024

_ROWS, _COLUMNS = np.indices((_SIDE, _SIDE))
_KEPT = (_ROWS < _WAVES) & (_COLUMNS < _WAVES) & (_ROWS + _COLUMNS > 0)
_WEIGHTS = np.hypot(_ROWS, _COLUMNS)[_KEPT]
DESCRIPTOR_LENGTH = int(_KEPT.sum())


def descriptor(pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
    """The coarse waves of a film [h, w], unit length; the product of two is their likeness in [-1, 1].

    The cosine transform of the ranks on a 32 x 32 grid, up to the 12th wave, each weighed by its number, for
    the power of radiographs falls off so. The negative of a film has the negative descriptor; a film of one
    grey level has zeros and is like nothing.
    """
    waves = dctn(_ranks(pixels, _SIDE), norm="ortho")[_KEPT] * _WEIGHTS
    return _unit(waves).astype(np.float16)


def fine_structure(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What stands out from its surroundings in a film [h, w], unit length: ranks on 96 x 96, less a blur."""
    ranks = _ranks(pixels, _FINE_SIDE)
    detail = ranks - gaussian_filter(ranks, _FINE_BLUR)
    return _unit((detail - detail.mean()).ravel()).astype(np.float32)


def alike_pairs(
    descriptors: NDArray[np.float16], *, least: float = ALIKE_COARSE
) -> Iterator[NDArray[np.float64]]:
    """Pairs of rows (first, second, likeness) [pairs, 3] above `least`, block by block; first < second.

    All rows are compared with all: time is quadratic, memory that of one block.
    """
    for top in range(0, len(descriptors), _BLOCK):
        rows = descriptors[top : top + _BLOCK].astype(np.float32)
        for left in range(top, len(descriptors), _BLOCK):
            likeness = rows @ descriptors[left : left + _BLOCK].astype(np.float32).T
            first, second = np.nonzero(likeness > least)
            later = first + top < second + left
            first, second = first[later], second[later]
            if len(first):
                yield np.stack([first + top, second + left, likeness[first, second]], axis=1)


def likeness_to_mean(descriptors: NDArray[np.float16]) -> NDArray[np.float32]:
    """How like the mean of them all each film is, in [-1, 1]; strongly below 0 for a negative."""
    if len(descriptors) == 0:
        return np.zeros(0, np.float32)
    mean = descriptors.mean(axis=0, dtype=np.float32)
    return descriptors.astype(np.float32) @ _unit(mean).astype(np.float32)


def _ranks(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """The ranks of a film's mean grey values on a grid, equal values sharing one, around 0."""
    grid = Image.fromarray(pixels).convert("F").resize((side, side), Image.Resampling.BOX)
    ranks = rankdata(np.asarray(grid)).reshape(side, side)
    return np.asarray(ranks - ranks.mean(), np.float64)


def _unit(vector: NDArray[np.floating]) -> NDArray[np.floating]:
    length = np.linalg.norm(vector)
    return vector / length if length > 1e-9 else np.zeros_like(vector)
