"""Intervals of the calibration error: how often they hold the truth, and what they are by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from mmil_cli.metrics.calibration_error import CalibrationError
from mmil_cli.metrics.decisions import Thresholds, decision_table
from mmil_cli.metrics.intervals import Interval

NAN = float("nan")
FILMS, ROUNDS = 300, 200
Truth = Callable[[np.ndarray], np.ndarray]


def measured(generator: np.random.Generator, truth: Truth, *, findings: int = 1) -> Interval:
    """ECE of a model that says p where the share of positives is truth(p); patients have two films."""
    probabilities = generator.beta(0.6, 2.0, size=(FILMS, findings))
    labels = (generator.random((FILMS, findings)) < truth(probabilities)).astype(float)
    found = decision_table(
        labels,
        probabilities,
        probabilities,
        thresholds=[Thresholds(0.5, 0.5)] * findings,
        groups=np.arange(FILMS) // 2,
        names=[str(number) for number in range(findings)],
        samples=200,
    )
    return found.mean["ece"]


def true_error(truth: Truth) -> float:
    probabilities = np.random.default_rng(0).beta(0.6, 2.0, size=400_000)
    bins = np.minimum((10 * probabilities).astype(int), 9)
    return float(np.abs(np.bincount(bins, truth(probabilities) - probabilities)).sum() / len(probabilities))


@pytest.mark.parametrize(
    "truth",
    [
        pytest.param(lambda p: p, id="calibrated"),
        pytest.param(lambda p: np.clip(p + 0.04, 0, 1), id="a little low"),
        pytest.param(lambda p: p**2, id="too sure of presence"),
        pytest.param(lambda p: np.clip(0.5 + 0.5 * (p - 0.5), 0, 1), id="too sure of both"),
    ],
)
@pytest.mark.parametrize("findings", [1, 4])
def test_intervals_hold_the_truth_as_often_as_they_say(truth: Truth, findings: int) -> None:
    generator = np.random.default_rng(1)
    found = [measured(generator, truth, findings=findings) for _ in range(ROUNDS)]
    error = true_error(truth)
    assert np.mean([row.low <= error <= row.high for row in found]) >= 0.92
    assert all(row.low <= row.value <= row.high for row in found)


def test_an_error_that_is_there_is_told_from_none() -> None:
    generator = np.random.default_rng(2)
    found = [measured(generator, lambda p: p**2) for _ in range(20)]
    assert np.mean([row.low > 0 for row in found]) > 0.9
    assert np.mean([row.high - row.low for row in found]) < 0.12


def test_by_hand() -> None:
    errors = np.array([0.2, -0.01])
    resampled = np.array([[0.21, 0.02], [0.19, -0.02], [0.18, 0.01], [0.22, -0.01]])
    found = CalibrationError.of(errors, resampled)
    assert found.value == pytest.approx(0.21)
    assert found.draws == pytest.approx([0.23, 0.21, 0.19, 0.23])
    # The first bin keeps its sign, the second may not.
    assert found.excess == pytest.approx([0.01 + 0.03, -0.01 + 0.01, -0.02 + 0.02, 0.02 + 0.0])
    shown = found.interval(level=0.5)
    assert shown.low == pytest.approx(0.21 - np.quantile(found.excess, 0.75))
    assert shown.high == pytest.approx(0.21 + np.quantile(found.draws, 0.75) - found.draws.mean())


def test_the_mean_is_of_the_defined_and_of_the_same_resamples() -> None:
    generator = np.random.default_rng(3)
    first, second = (
        CalibrationError.of(generator.normal(size=10) / 50, generator.normal(size=(40, 10)) / 50)
        for _ in range(2)
    )
    undefined = CalibrationError.of(np.full(10, NAN), np.full((40, 10), NAN))
    both = CalibrationError.mean([first, undefined, second])
    assert both.value == pytest.approx((first.value + second.value) / 2)
    assert both.excess == pytest.approx((first.excess + second.excess) / 2)
    assert np.isnan(CalibrationError.mean([undefined]).interval().value)
    assert np.isnan(undefined.interval().low)
    assert undefined.interval().num_undefined == 40


def test_resamples_without_films_are_counted_and_left_out() -> None:
    resampled = np.array([[0.1, 0.0], [NAN, NAN], [0.2, 0.1]])
    found = CalibrationError.of(np.array([0.1, 0.05]), resampled).interval()
    assert found.num_undefined == 1
    assert np.isfinite([found.low, found.high]).all()
