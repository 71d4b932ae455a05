"""The way of a map from the region grid to the pixels of a film."""

import numpy as np
import pytest

from mmil_cli.data.film import Film
from mmil_cli.data.fit import Fit, fit_film
from mmil_cli.data.geometry import Affine
from mmil_cli.data.images import resize_film
from mmil_cli.data.maps import fill_grid, grid_to_film, smooth_grid

SIZE, CELLS = 96, 12
CELL = SIZE // CELLS


def see_square(
    height: int, width: int, box: tuple[int, int, int, int], fit: Fit
) -> tuple[np.ndarray, Affine]:
    """The grid of a model that averages brightness in each region, after the way that films take to it."""
    pixels = np.zeros((height, width), np.float32)
    x, y, box_width, box_height = box
    pixels[y : y + box_height, x : x + box_width] = 1
    stored = resize_film(Film(pixels), side=150)
    fitted = fit_film(stored.pixels, size=SIZE, fit=fit)
    grid = fitted.pixels.reshape(CELLS, CELL, CELLS, CELL).mean(axis=(1, 3)) / 255
    return grid, fitted.to_stored.then(stored.to_source)


def centre_of_mass(values: np.ndarray) -> tuple[float, float]:
    """x and y."""
    rows, columns = (np.arange(n) + 0.5 for n in values.shape)
    return float(values.sum(axis=0) @ columns / values.sum()), float(values.sum(axis=1) @ rows / values.sum())


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(333, 211, (37, 121, 90, 84)), (201, 387, (161, 52, 70, 95)), (257, 255, (91, 60, 101, 77))],
)
def test_square_survives_the_way_there_and_back(
    height: int, width: int, box: tuple[int, int, int, int], fit: Fit
) -> None:
    grid, to_film = see_square(height, width, box, fit)
    values = grid_to_film(grid, size=SIZE, to_film=to_film, height=height, width=width)
    found = np.argwhere(values >= 0.5)
    top, left = found.min(axis=0)
    bottom, right = found.max(axis=0) + 1
    half_cell = CELL * to_film.scale_x / 2
    truth = (box[0], box[1], box[0] + box[2], box[1] + box[3])
    assert np.abs(np.subtract((left, top, right, bottom), truth)).max() <= half_cell
    middle = centre_of_mass(np.nan_to_num(values))
    assert middle == pytest.approx((box[0] + box[2] / 2, box[1] + box[3] / 2), abs=half_cell / 3)


def test_every_pixel_of_a_padded_film_is_seen() -> None:
    grid, to_film = see_square(333, 211, (37, 121, 90, 84), "pad")
    assert not np.isnan(grid_to_film(grid, size=SIZE, to_film=to_film, height=333, width=211)).any()


def test_what_the_crop_left_out_is_nan_and_nothing_else() -> None:
    grid, to_film = see_square(300, 200, (50, 120, 90, 84), "crop")
    values = grid_to_film(grid, size=SIZE, to_film=to_film, height=300, width=200)
    assert np.isnan(values[:50]).all()
    assert np.isnan(values[250:]).all()
    assert not np.isnan(values[51:249]).any()


def test_equals_a_slow_loop() -> None:
    generator = np.random.default_rng(0)
    grid = generator.random((3, 5))
    to_film = Affine(2.3, 1.7, -9.0, 4.0)
    values = grid_to_film(grid, size=40, to_film=to_film, height=31, width=43)
    back = to_film.inverse()
    for row in range(31):
        for column in range(43):
            x, y = back.point(column + 0.5, row + 0.5)
            if not (0 <= x <= 40 and 0 <= y <= 40):
                assert np.isnan(values[row, column])
                continue
            across, down = np.clip(x * 5 / 40 - 0.5, 0, 4), np.clip(y * 3 / 40 - 0.5, 0, 2)
            left, top = min(int(across), 3), min(int(down), 1)
            s, t = across - left, down - top
            four = grid[top : top + 2, left : left + 2]
            expected = np.array([1 - t, t]) @ four @ np.array([1 - s, s])
            assert values[row, column] == pytest.approx(expected, abs=1e-6)


def test_a_ramp_stays_a_ramp_between_the_outermost_centres() -> None:
    centres = (np.arange(CELLS) + 0.5) * CELL
    grid = 2 * centres[None, :] - 3 * centres[:, None]
    values = grid_to_film(grid, size=SIZE, to_film=Affine(2.0, 2.0), height=192, width=192)
    place = (np.arange(192) + 0.5) / 2
    expected = 2 * place[None, :] - 3 * place[:, None]
    inner = slice(CELL, 192 - CELL)
    np.testing.assert_allclose(values[inner, inner], expected[inner, inner], rtol=1e-5, atol=1e-3)
    assert values[0, 0] == pytest.approx(grid[0, 0])


def test_a_finer_film_agrees_at_common_pixel_centres() -> None:
    grid = np.random.default_rng(1).random((7, 7))
    to_film = Affine(1.5, 1.25, -4.0, 3.0)
    coarse = grid_to_film(grid, size=56, to_film=to_film, height=60, width=50)
    fine = grid_to_film(grid, size=56, to_film=to_film.then(Affine(3.0, 3.0)), height=180, width=150)
    np.testing.assert_allclose(fine[1::3, 1::3], coarse, atol=1e-6)


def test_padding_does_not_bleed_into_the_film() -> None:
    grid = np.full((8, 8), np.nan)
    grid[:, 2:6] = 0.7
    to_film = Affine(10.0, 10.0, -150.0, 0.0)
    values = grid_to_film(grid, size=80, to_film=to_film, height=800, width=500)
    np.testing.assert_allclose(values, 0.7, atol=1e-6)
    assert values.dtype == np.float32


def test_the_nearest_real_cell_fills_a_hole() -> None:
    grid = np.array([[np.nan, np.nan, 3.0], [1.0, np.nan, np.nan]])
    np.testing.assert_array_equal(fill_grid(grid), [[1, 3, 3], [1, 1, 3]])
    assert np.isnan(fill_grid(np.full((2, 2), np.nan))).all()


def test_smoothing_is_the_weighted_mean_of_real_cells() -> None:
    generator = np.random.default_rng(2)
    grid = generator.random((4, 6))
    grid[:, 0] = np.nan
    smooth = smooth_grid(grid, sigma=1.5)
    for row, column in np.argwhere(~np.isnan(grid)):
        total = weight = 0.0
        for other_row, other_column in np.argwhere(~np.isnan(grid)):
            share = np.exp(-((row - other_row) ** 2 + (column - other_column) ** 2) / (2 * 1.5**2))
            total += share * grid[other_row, other_column]
            weight += share
        assert smooth[row, column] == pytest.approx(total / weight)
    np.testing.assert_array_equal(np.isnan(smooth), np.isnan(grid))


def test_smoothing_nothing_and_smoothing_a_constant_change_nothing() -> None:
    grid = np.random.default_rng(3).random((5, 5))
    np.testing.assert_array_equal(smooth_grid(grid, sigma=0), grid)
    np.testing.assert_allclose(smooth_grid(np.full((5, 5), 0.4), sigma=0.01), 0.4)
    assert smooth_grid(grid, sigma=2).std() < grid.std()
