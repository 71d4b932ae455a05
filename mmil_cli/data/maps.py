"""From a map on the model's region grid to the pixels of a film, with nothing where the model did not look.

A grid [rows, columns] divides the model's square evenly; the value of a cell stands where the cell looks,
which is its middle for some encoders and near its upper left corner for others. A cell that holds no film is
NaN.
"""

import numpy as np
from numpy.typing import NDArray

from mmil_cli.data.geometry import Affine
from mmil_cli.runtime import one_blas_thread

Map = NDArray[np.floating]


def smooth_grid(grid: Map, *, sigma: float) -> Map:
    """The grid under a Gaussian of `sigma` cells, as a weighted mean of the cells that hold film.

    Cells without film stay NaN and lend nothing to others; beyond the border there is nothing either. The
    kernel is not cut off, for a grid is small. 0 gives the grid back.
    """
    if sigma == 0:
        return grid
    real = ~np.isnan(grid)
    down, across = (_gaussian(cells, sigma) for cells in grid.shape)
    total = down @ np.where(real, grid, 0.0) @ across
    weight = down @ real.astype(np.float64) @ across  # at least 1 where the cell itself is real
    return np.where(real, total / np.maximum(weight, 1.0), np.nan)


def fill_grid(grid: Map) -> Map:
    """The grid with each NaN replaced by the nearest real cell's value, so that padding does not bleed.

    The nearest is by distance between cell centres, the first of equals row by row. All NaN stays all NaN.
    """
    missing = np.isnan(grid)
    if not missing.any() or missing.all():
        return grid
    holes, real = np.argwhere(missing), np.argwhere(~missing)
    distance = ((holes[:, None, :] - real[None, :, :]) ** 2).sum(axis=-1)
    filled = grid.copy()
    filled[missing] = grid[~missing][distance.argmin(axis=1)]
    return filled


def grid_to_film(
    grid: Map, *, size: int, to_film: Affine, height: int, width: int, centre: float = 0.5
) -> NDArray[np.float32]:
    """The grid's values at every pixel of a film, float32 [height, width], NaN outside the model's square.

    Bilinear between cell centres, sampled at pixel centres; beyond the outermost centres the border values
    hold. As each axis has its own scale and shift, this is a product with weights of rows and of columns.

    Args:
        grid: [rows, columns], NaN where a cell holds no film.
        size: side of the model's square in pixels.
        to_film: from pixel coordinates of the square to those of the film.
        height: of the film, in pixels.
        width: of the film, in pixels.
        centre: where in its cell a value stands, as a share of the cell's side from the upper left.
    """
    rows, columns = grid.shape
    y = _positions(height, scale=to_film.scale_y, offset=to_film.offset_y)
    x = _positions(width, scale=to_film.scale_x, offset=to_film.offset_x)
    down = _bilinear(y * rows / size - centre, rows).astype(np.float32)
    across = _bilinear(x * columns / size - centre, columns).astype(np.float32)
    with one_blas_thread():
        values = down @ fill_grid(grid).astype(np.float32) @ across.T
    values[(y < 0) | (y > size)] = np.nan
    values[:, (x < 0) | (x > size)] = np.nan
    return values


def _positions(num_pixels: int, *, scale: float, offset: float) -> NDArray[np.float64]:
    """Where the centres of a film's pixels lie in the square, along one axis."""
    centres = np.arange(num_pixels, dtype=np.float64) + 0.5
    return (centres - offset) / scale


def _bilinear(position: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Weights [pixels, cells]; positions are in cells, the value of cell 0 at 0."""
    place = np.clip(position, 0, cells - 1)
    return np.clip(1.0 - np.abs(place[:, None] - np.arange(cells)), 0.0, None)


def _gaussian(cells: int, sigma: float) -> NDArray[np.float64]:
    """Weights [cells, cells] of every cell on every other along one axis."""
    distance = np.subtract.outer(np.arange(cells), np.arange(cells))
    return np.exp(-0.5 * (distance / sigma) ** 2)
