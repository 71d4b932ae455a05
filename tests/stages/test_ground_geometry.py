"""A square in a film, resized, cropped or padded for the model, is found again where it was."""

import numpy as np
import pytest

from mmil_cli.data.film import Film
from mmil_cli.data.fit import Fit, fit_film
from mmil_cli.data.images import resize_film
from mmil_cli.data.maps import grid_to_film
from mmil_cli.stages.similarity import find_boxes


def ideal_grid(square: np.ndarray, cells: int, centre: float) -> np.ndarray:
    """What an encoder sees that tells the mean brightness about the point where each cell looks."""
    size = len(square)
    reach = size / cells / 2
    places = (np.arange(cells) + centre) * size / cells
    edges = [(round(max(0.0, p - reach)), round(min(float(size), p + reach))) for p in places]
    return np.array(
        [[square[top:bottom, left:right].mean() for left, right in edges] for top, bottom in edges]
    )


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("shape", [(600, 400), (400, 600), (512, 512), (333, 517)])
@pytest.mark.parametrize(("stored", "size", "cells"), [(192, 160, 10), (256, 224, 14), (10_000, 320, 20)])
@pytest.mark.parametrize("centre", [0.5, 0.25])
def test_a_known_square_survives_to_within_half_a_cell(
    fit: Fit, shape: tuple[int, int], stored: int, size: int, cells: int, centre: float
) -> None:
    height, width = shape
    side = min(shape) // 2
    left, top = (width - side) // 2 + 13, (height - side) // 2 - 9
    pixels = np.zeros(shape, np.float32)
    pixels[top : top + side, left : left + side] = 1.0
    film = resize_film(Film(pixels), side=stored)
    fitted = fit_film(film.pixels, size=size, fit=fit)
    to_film = fitted.to_stored.then(film.to_source)
    grid = ideal_grid(fitted.pixels / 255.0, cells, centre)
    values = grid_to_film(grid, size=size, to_film=to_film, height=height, width=width, centre=centre)
    x, y, found_width, found_height = find_boxes(values, threshold=0.5)[0].box
    half = 0.5 * size / cells
    across, down = half * to_film.scale_x, half * to_film.scale_y
    wanted = ((left, left + side, across), (top, top + side, down))
    for (start, end), (true_start, true_end, most) in zip(
        ((x, x + found_width), (y, y + found_height)), wanted, strict=True
    ):
        assert abs(start - true_start) <= most
        assert abs(end - true_end) <= most
