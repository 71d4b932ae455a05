"""Platt scaling: the truth is recovered, few cases stay finite, and the interval covers it."""

import numpy as np
import pytest
from scipy.special import expit

from mmil_cli.metrics.platt import Platt, fit_platt


def cases(num: int, *, slope: float = 0.5, intercept: float = -1.0, seed: int = 0) -> tuple:
    generator = np.random.default_rng(seed)
    scores = generator.normal(2.0, 4.0, num)
    return (generator.random(num) < expit(slope * scores + intercept)).astype(float), scores


def test_many_cases_give_back_what_they_were_drawn_from() -> None:
    found = fit_platt(*cases(20_000), seed=0)
    assert found.best.slope == pytest.approx(0.5, abs=0.03)
    assert found.best.intercept == pytest.approx(-1.0, abs=0.1)
    assert found.slope.low < 0.5 < found.slope.high
    assert found.num_positive + found.num_negative == 20_000


def test_it_is_the_optimum_of_platts_targets() -> None:
    labels, scores = cases(40)
    best = fit_platt(labels, scores, seed=0).best
    positive, negative = labels.sum(), (1 - labels).sum()
    targets = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(slope: float, intercept: float) -> float:
        p = expit(slope * scores + intercept)
        return -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()

    least = loss(best.slope, best.intercept)
    for slope, intercept in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
        assert loss(best.slope + slope, best.intercept + intercept) > least


def test_few_cases_that_are_told_apart_perfectly_stay_finite_and_unsure() -> None:
    labels, scores = np.array([0.0, 0, 0, 1, 1]), np.array([-3.0, -2, -1, 4, 5])
    few = fit_platt(labels, scores, seed=0)
    assert 0 < few.best.slope < 10
    at = few.probability(0.0)
    assert 0 < at.low < at.value < at.high < 1
    many = fit_platt(*cases(2000), seed=0).probability(0.0)
    assert many.high - many.low < (at.high - at.low)


def test_scores_that_rank_the_wrong_way_round_are_not_turned() -> None:
    labels, scores = cases(200)
    found = fit_platt(labels, -scores, seed=0)
    assert found.best.slope == 0.0
    share = labels.mean()
    assert expit(found.best.intercept) == pytest.approx(share, abs=0.02)


def test_equal_scores_tell_only_how_common_the_finding_is() -> None:
    found = fit_platt(np.array([0.0, 0, 1, 0]), np.full(4, 7.0), seed=0)
    assert np.isfinite([found.best.slope, found.best.intercept]).all()
    assert 0.2 < expit(found.best.log_odds(np.array([7.0]))[0]) < 0.45


def test_a_seed_gives_the_same_refits() -> None:
    data = cases(30)
    assert fit_platt(*data, seed=1).refits == fit_platt(*data, seed=1).refits
    assert fit_platt(*data, seed=1).slope != fit_platt(*data, seed=2).slope
    assert Platt(2.0, 1.0).log_odds(np.array([3.0])).tolist() == [7.0]
