import numpy as np
import pytest

from mmil_cli.metrics import intervals
from mmil_cli.metrics.intervals import (
    interval,
    mean_intervals,
    mean_of_defined,
    patient_weights,
    row_blocks,
    weighted_mean,
)


def test_weights_share_the_draw_within_a_patient_and_draw_as_many_patients_as_there_are() -> None:
    groups = ["b", "a", "b", "c", "a", "d"]
    weights = patient_weights(groups, samples=200, seed=3)
    assert weights.shape == (200, 6)
    assert weights.dtype == np.int16
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3, 5]].sum(axis=1) == 4).all()
    assert len(np.unique(weights, axis=0)) > 20


def test_weights_have_the_mean_and_variance_of_a_bootstrap() -> None:
    weights = patient_weights(np.arange(50), samples=4000, seed=0).astype(float)
    assert weights.mean() == pytest.approx(1.0)
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.02)


def test_weights_follow_the_seed_and_not_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = patient_weights(np.arange(30), samples=40, seed=1)
    assert not np.array_equal(whole, patient_weights(np.arange(30), samples=40, seed=2))
    monkeypatch.setattr(intervals, "_BLOCK_ELEMENTS", 100)
    assert np.array_equal(whole, patient_weights(np.arange(30), samples=40, seed=1))


def test_weights_of_nobody_are_empty() -> None:
    assert patient_weights([], samples=5, seed=0).shape == (5, 0)


def test_blocks_cover_every_row_once_and_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_BLOCK_ELEMENTS", 70)
    blocks = list(row_blocks(23, 10))
    assert [b.stop - b.start for b in blocks] == [7, 7, 7, 2]
    assert blocks[0].start == 0
    assert blocks[-1].stop == 23
    assert len(list(row_blocks(3, 1000))) == 3


def test_interval_is_the_percentiles_of_the_defined_draws() -> None:
    draws = np.concatenate([np.arange(101.0), [np.nan, np.nan]])
    result = interval(50.0, draws)
    assert (result.value, result.num_undefined) == (50.0, 2)
    assert (result.low, result.high) == pytest.approx((2.5, 97.5))
    narrow = interval(50.0, draws, level=0.5)
    assert (narrow.low, narrow.high) == pytest.approx((25.0, 75.0))


def test_interval_without_any_draw_or_value_is_undefined_and_counted() -> None:
    nothing = interval(0.5, np.full(7, np.nan))
    assert nothing.num_undefined == 7
    assert np.isnan([nothing.low, nothing.high]).all()
    unvalued = interval(float("nan"), np.array([1.0]))
    assert np.isnan([unvalued.value, unvalued.low]).all()


def test_weighted_mean_equals_the_mean_of_the_repeated_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(12, 3))
    values[generator.random(values.shape) < 0.2] = np.nan
    weights = patient_weights(np.arange(12) // 2, samples=9, seed=0)
    monkeypatch.setattr(intervals, "_BLOCK_ELEMENTS", 30)
    slow = np.array([np.nanmean(np.repeat(values, row, axis=0), axis=0) for row in weights])
    assert weighted_mean(values, weights) == pytest.approx(slow, abs=1e-12)


def test_means_of_nothing_are_nan_without_a_warning() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan]])
    assert mean_of_defined(values.T) == pytest.approx([2.0, np.nan], nan_ok=True)
    drawn = weighted_mean(values, np.array([[0, 0], [2, 1]]))
    assert drawn == pytest.approx(np.array([[np.nan, np.nan], [5 / 3, np.nan]]), nan_ok=True)


def test_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        values = np.random.default_rng(seed).normal(size=(60, 1))
        result = mean_intervals(values, patient_weights(np.arange(60), samples=300, seed=seed))[0]
        covered += result.low <= 0.0 <= result.high
    assert 180 <= covered <= 198


def test_repeating_every_film_of_a_patient_does_not_narrow_the_interval() -> None:
    values = np.random.default_rng(1).normal(size=(40, 1))
    patients = np.arange(40)
    once = mean_intervals(values, patient_weights(patients, samples=500, seed=0))[0]
    thrice = mean_intervals(
        np.repeat(values, 3, axis=0), patient_weights(np.repeat(patients, 3), samples=500, seed=0)
    )[0]
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
