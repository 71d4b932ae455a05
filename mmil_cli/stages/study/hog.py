"""Histograms of oriented gradients: what a film shows without anything learned."""

import numpy as np

BINS, CELL, BLOCK, CLIP = 9, 8, 2, 0.2
_TINY = 1e-5


def oriented_gradients(film: np.ndarray) -> np.ndarray:
    """Dalal and Triggs 2005: 9 unsigned orientations, cells of 8 x 8 pixels, blocks of 2 x 2 cells, L2-Hys.

    Gradients are central differences, 0 at the edge, of the square root of the pixels; each pixel votes with
    its magnitude for the two nearest orientations (between neighbouring cells nothing is shared, for speed).

    Args:
        film: uint8, sides multiples of 8 and at least 16 [H, W].

    Returns:
        Features [(H/8 - 1) (W/8 - 1) 36].
    """
    light = np.sqrt(film.astype(np.float64))
    down, across = np.zeros_like(light), np.zeros_like(light)
    down[1:-1] = light[2:] - light[:-2]
    across[:, 1:-1] = light[:, 2:] - light[:, :-2]
    place = np.mod(np.arctan2(down, across), np.pi) / np.pi * BINS - 0.5
    lower = np.floor(place)
    share = place - lower
    magnitude = np.hypot(down, across)
    votes = np.zeros((*film.shape, BINS))
    for shift, weight in ((0, 1 - share), (1, share)):
        chosen = np.mod(lower.astype(int) + shift, BINS)[..., None]
        found = np.take_along_axis(votes, chosen, axis=-1)
        np.put_along_axis(votes, chosen, found + (magnitude * weight)[..., None], axis=-1)
    rows, columns = film.shape[0] // CELL, film.shape[1] // CELL
    cells = votes.reshape(rows, CELL, columns, CELL, BINS).sum(axis=(1, 3))
    blocks = np.concatenate(
        [cells[i : rows - 1 + i, j : columns - 1 + j] for i in range(BLOCK) for j in range(BLOCK)], axis=-1
    )
    return _normalised(np.minimum(_normalised(blocks), CLIP)).reshape(-1)


def _normalised(blocks: np.ndarray) -> np.ndarray:
    return blocks / np.sqrt((blocks**2).sum(axis=-1, keepdims=True) + _TINY**2)
