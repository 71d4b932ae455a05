"""Shrinking a film: a weighted mean of the pixels under each new one, as two products of sparse matrices."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


def shrink(pixels: NDArray[np.float32], *, height: int, width: int) -> NDArray[np.float32]:
    """The film, float32 [H, W], at `height` x `width` pixels, neither larger than before.

    Rows are reduced before columns: the first product runs along whole rows, which is what memory is fast at.
    Each pixel is summed in one order by plain float32 arithmetic, so that machines agree to the last bit.
    """
    fewer_rows = _weights(pixels.shape[0], height) @ pixels  # [h, W]
    film: NDArray[np.float32] = _weights(pixels.shape[1], width) @ np.ascontiguousarray(fewer_rows.T)
    return np.ascontiguousarray(film.T)


@lru_cache(maxsize=64)
def _weights(before: int, after: int) -> csr_matrix:
    """Share of each of `before` pixels in each of `after`: float32 [after, before], rows sum to 1.

    The kernel is a Hamming-windowed sinc as wide as two new pixels: antialiasing, and nowhere negative, so
    that edges do not ring. At the border it is cut off and the rest weighs more.
    """
    scale = before / after
    centre = (np.arange(after) + 0.5) * scale
    first = np.maximum(np.floor(centre - scale + 0.5), 0).astype(np.int64)
    end = np.minimum(np.floor(centre + scale + 0.5), before).astype(np.int64)
    places = first[:, None] + np.arange(int((end - first).max()))
    distance = np.abs(places + 0.5 - centre[:, None]) / scale
    kernel = np.sinc(distance) * (0.54 + 0.46 * np.cos(np.pi * distance))
    kernel[(distance >= 1) | (places >= end[:, None])] = 0.0
    kernel /= kernel.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(after)[:, None], places.shape)
    held = kernel > 0
    return csr_matrix((kernel[held].astype(np.float32), (rows[held], places[held])), shape=(after, before))
