"""DeLong against loops over pairs, and the paired bootstrap."""

import math

import numpy as np
import pytest

from mmil_cli.metrics.comparison import delong, difference

NAN = float("nan")


def sample(seed: int, rows: int = 60, levels: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = (generator.random(rows) < 0.4).astype(float)
    shared = generator.normal(size=rows) + labels
    first, second = (np.round((shared + generator.normal(size=rows)) * levels) / levels for _ in range(2))
    return labels, first, second


def slow_delong(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, ...]:
    """The covariance matrix of both areas from all pairs of a positive and a negative."""
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    v10 = np.zeros((2, len(positive)))
    v01 = np.zeros((2, len(negative)))
    for model, scores in enumerate((first, second)):
        for i, p in enumerate(positive):
            for j, n in enumerate(negative):
                won = 1.0 if scores[p] > scores[n] else 0.5 if scores[p] == scores[n] else 0.0
                v10[model, i] += won / len(negative)
                v01[model, j] += won / len(positive)
    covariance = np.cov(v10) / len(positive) + np.cov(v01) / len(negative)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    one, other = v10.mean(axis=1)
    z = (other - one) / math.sqrt(variance)
    return one, other, variance, math.erfc(abs(z) / math.sqrt(2))


@pytest.mark.parametrize("seed", range(6))
def test_delong_equals_the_loop_over_pairs(seed: int) -> None:
    data = sample(seed)
    found = delong(*data)
    expected = slow_delong(*data)
    assert (found.first, found.second, found.variance, found.p) == pytest.approx(expected, abs=1e-12)


def test_delong_is_the_same_the_other_way_round_and_sees_no_difference_where_there_is_none() -> None:
    labels, first, second = sample(1)
    there, back = delong(labels, first, second), delong(labels, second, first)
    assert there.p == pytest.approx(back.p)
    assert there.variance == pytest.approx(back.variance)
    same = delong(labels, first, np.exp(first))
    assert (same.variance, same.p) == (0.0, 1.0)


def test_delong_rejects_as_often_as_it_says() -> None:
    """Under no difference p is uniform: 5 % lie below 0.05, give or take three standard errors."""
    ps = np.array([delong(*sample(seed, rows=80, levels=1000)).p for seed in range(600)])
    assert abs((ps < 0.05).mean() - 0.05) < 3 * math.sqrt(0.05 * 0.95 / 600)


@pytest.mark.parametrize("labels", [[1, 1, 1], [1, 0, 0]])
def test_delong_of_too_few_films_of_a_class_is_nan(labels: list[int]) -> None:
    found = delong(np.array(labels, float), np.arange(3.0), np.arange(3.0)[::-1])
    assert math.isnan(found.p)
    assert math.isnan(found.first) == (0 not in labels)


def test_the_difference_is_paired_and_its_p_counts_resamples() -> None:
    draws = np.array([0.5, 0.6, 0.7, NAN, 0.9]), np.array([0.6, 0.7, 0.65, 0.8, 0.95])
    found = difference((0.7, 0.8), draws)
    assert found.gap.value == pytest.approx(0.1)
    assert found.gap.num_undefined == 1
    assert found.p_bootstrap == pytest.approx(2 * (1 + 1) / (4 + 1))
    assert math.isnan(found.p_delong)
    assert difference((0.7, 0.7), (draws[0], draws[0])).p_bootstrap == 1.0
    assert math.isnan(difference((NAN, 0.8), draws).p_bootstrap)
