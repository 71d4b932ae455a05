"""Boxes as masks, and the location prior: where boxes usually lie, without looking at the film."""

import math
from collections.abc import Sequence

import numpy as np

Box = tuple[float, float, float, float]
"""Left, top, width, height; in pixels, or as shares of the film where a function says so."""


def boxes_mask(boxes: Sequence[Box], height: int, width: int) -> np.ndarray:
    """All boxes of a phrase as one mask [H, W].

    Edges are rounded to the nearest pixel border (halves up) and clipped to the film; a box thinner than
    a pixel keeps the pixel of its centre. A box wholly outside the film adds nothing.
    """
    mask = np.zeros((height, width), dtype=bool)
    for left, top, box_width, box_height in boxes:
        mask[_span(top, box_height, height), _span(left, box_width, width)] = True
    return mask


def location_prior(phrases: Sequence[Sequence[Box]], *, grid: tuple[int, int] = (64, 64)) -> np.ndarray:
    """The mean of the training phrases' masks on a common grid: how often each place is boxed.

    Args:
        phrases: For each training phrase its boxes, as shares of the film's width and height (0 to 1).
        grid: Rows and columns.

    Returns:
        Shares [rows, columns] in [0, 1]; zeros where there are no phrases.
    """
    total = np.zeros(grid)
    for boxes in phrases:
        covered = np.zeros(grid)
        for left, top, width, height in boxes:
            rows = _coverage(top, top + height, grid[0])
            columns = _coverage(left, left + width, grid[1])
            covered = np.maximum(covered, np.outer(rows, columns))
        total += covered
    return total / max(1, len(phrases))


def resample(prior: np.ndarray, height: int, width: int) -> np.ndarray:
    """A grid stretched over a film by bilinear interpolation between cell centres, edges held [H, W]."""
    return _interpolation(height, prior.shape[0]) @ prior @ _interpolation(width, prior.shape[1]).T


def _span(start: float, length: float, size: int) -> slice:
    first, last = math.floor(start + 0.5), math.floor(start + length + 0.5)
    if first == last:
        first = math.floor(start + length / 2)
        last = first + 1
    return slice(max(0, first), max(0, min(size, last)))


def _coverage(start: float, end: float, cells: int) -> np.ndarray:
    """The share of each of `cells` cells of [0, 1] that lies between start and end."""
    borders = np.arange(cells + 1)
    covered = np.minimum(end * cells, borders[1:]) - np.maximum(start * cells, borders[:-1])
    return np.clip(covered, 0.0, 1.0)


def _interpolation(size: int, cells: int) -> np.ndarray:
    """Weights [size, cells] that interpolate linearly from cell centres to pixel centres."""
    position = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    lower = np.minimum(position.astype(int), max(0, cells - 2))
    share = position - lower
    weights = np.zeros((size, cells))
    weights[np.arange(size), lower] = 1.0 - share
    weights[np.arange(size), np.minimum(lower + 1, cells - 1)] += share
    return weights
