import numpy as np
import pytest

from mmil_cli.metrics.regions import boxes_mask, location_prior, resample


def test_pixels_inside_a_box() -> None:
    mask = boxes_mask([(2, 1, 3, 2)], 5, 7)
    expected = np.zeros((5, 7), dtype=bool)
    expected[1:3, 2:5] = True
    assert np.array_equal(mask, expected)


def test_fractional_edges_round_to_the_nearest_border_halves_up() -> None:
    assert boxes_mask([(0.4, 0, 2.0, 1)], 1, 5)[0].tolist() == [True, True, False, False, False]
    assert boxes_mask([(0.6, 0, 2.0, 1)], 1, 5)[0].tolist() == [False, True, True, False, False]
    assert boxes_mask([(0.5, 0, 2.0, 1)], 1, 5)[0].tolist() == [False, True, True, False, False]


def test_a_thin_box_keeps_its_pixel() -> None:
    assert boxes_mask([(3.1, 1.2, 0.3, 0.2)], 4, 6).nonzero() == (np.array([1]), np.array([3]))


def test_boxes_are_clipped_and_united() -> None:
    mask = boxes_mask([(-2, -2, 4, 4), (1, 1, 2, 2), (4, 4, 10, 10), (90, 90, 3, 3), (-9, 0, 3, 3)], 6, 6)
    assert mask.sum() == 4 + 4 - 1 + 4
    assert mask[0, 0]
    assert mask[5, 5]
    assert not boxes_mask([], 6, 6).any()


def test_prior_is_the_share_of_phrases_that_box_a_place() -> None:
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)
    prior = location_prior([[left], [left, right], [left, left]], grid=(2, 4))
    assert prior == pytest.approx(np.array([[1, 1, 1 / 3, 1 / 3]] * 2))


def test_prior_weighs_partly_covered_cells_by_their_share() -> None:
    prior = location_prior([[(0.125, 0.25, 0.5, 0.5)]], grid=(1, 2))
    assert prior == pytest.approx(np.array([[0.75 * 0.5, 0.25 * 0.5]]))
    assert location_prior([[(0.1, 0.3, 0.37, 0.21)]]).mean() == pytest.approx(0.37 * 0.21)


def test_prior_of_nothing_is_zero() -> None:
    assert location_prior([], grid=(2, 3)).tolist() == np.zeros((2, 3)).tolist()


def test_resampling_keeps_cells_constants_mirrors_and_bounds() -> None:
    prior = np.random.default_rng(0).random((5, 6))
    assert resample(prior, 5, 6) == pytest.approx(prior)
    assert resample(np.full((5, 6), 0.3), 17, 11) == pytest.approx(np.full((17, 11), 0.3))
    stretched = resample(prior, 50, 33)
    assert prior.min() <= stretched.min() <= stretched.max() <= prior.max()
    assert resample(prior[::-1, ::-1], 50, 33)[::-1, ::-1] == pytest.approx(stretched)
    assert resample(np.array([[0.7]]), 3, 4) == pytest.approx(np.full((3, 4), 0.7))


def test_resampling_interpolates_between_cell_centres() -> None:
    assert resample(np.array([[0.0, 1.0]]), 1, 4)[0] == pytest.approx([0.0, 0.25, 0.75, 1.0])
