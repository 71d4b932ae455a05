"""Thresholds, decisions and calibration against scikit-learn, by hand, and resample by resample."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, f1_score, precision_recall_curve, recall_score, roc_curve

from mmil_cli.metrics.curves import MOST_POINTS, curves
from mmil_cli.metrics.decisions import (
    METRICS,
    DecisionTable,
    Thresholds,
    choose_thresholds,
    decision_table,
)
from mmil_cli.metrics.intervals import patient_weights

NAN = float("nan")


def sample(seed: int, rows: int = 90) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores with ties, and probabilities."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(rows) < 0.3).astype(float)
    scores = np.round(generator.normal(size=rows) + labels, 1)
    return labels, scores, 1 / (1 + np.exp(-scores))


def table(labels: np.ndarray, scores: np.ndarray, probabilities: np.ndarray, thresholds: Thresholds,
          **options: int) -> DecisionTable:  # fmt: skip
    return decision_table(
        labels[:, None], scores[:, None], probabilities[:, None], thresholds=[thresholds],
        groups=np.arange(len(labels)) // 2, names=["a"], **options,
    )  # fmt: skip


def slow_ece(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> float:
    total = 0.0
    for number in range(10):
        low, high = number / 10, (number + 1) / 10
        inside = (probabilities >= low) & ((probabilities < high) | (number == 9))
        if weights[inside].sum():
            y = np.average(labels[inside], weights=weights[inside])
            p = np.average(probabilities[inside], weights=weights[inside])
            total += weights[inside].sum() / weights.sum() * abs(y - p)
    return total


@pytest.mark.parametrize("seed", range(6))
def test_the_thresholds_are_the_best_of_all(seed: int) -> None:
    labels, scores, _ = sample(seed)
    chosen = choose_thresholds(labels, scores)
    f1s = {t: f1_score(labels, scores >= t) for t in np.unique(scores)}
    assert f1s[chosen.f1] == pytest.approx(max(f1s.values()), abs=1e-12)
    fall_out, recall, _ = roc_curve(labels, scores)
    at = (scores[labels == 1] >= chosen.youden).mean() - (scores[labels == 0] >= chosen.youden).mean()
    assert at == pytest.approx((recall - fall_out).max(), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_equals_scikit_learn(seed: int) -> None:
    labels, scores, probabilities = sample(seed)
    thresholds = choose_thresholds(*sample(seed + 10)[:2])
    found = table(labels, scores, probabilities, thresholds, samples=5).findings["a"]
    by_youden = scores >= thresholds.youden
    expected = {
        "f1": f1_score(labels, scores >= thresholds.f1),
        "sensitivity": recall_score(labels, by_youden),
        "specificity": recall_score(labels, by_youden, pos_label=0),
        "brier": brier_score_loss(labels, probabilities),
        "ece": slow_ece(labels, probabilities, np.ones(len(labels))),
    }
    for metric in METRICS:
        assert found[metric].value == pytest.approx(expected[metric], abs=1e-12), metric


def test_every_interval_is_that_of_its_resamples() -> None:
    labels, scores, probabilities = sample(1)
    thresholds = choose_thresholds(*sample(2)[:2])
    found = table(labels, scores, probabilities, thresholds, samples=60, seed=3).findings["a"]
    weights = patient_weights(np.arange(len(labels)) // 2, samples=60, seed=3)
    draws = {
        "f1": [f1_score(labels, scores >= thresholds.f1, sample_weight=w) for w in weights],
        "specificity": [
            recall_score(labels, scores >= thresholds.youden, pos_label=0, sample_weight=w) for w in weights
        ],
        "brier": [brier_score_loss(labels, probabilities, sample_weight=w) for w in weights],
    }
    for metric, values in draws.items():
        low, high = np.quantile(values, [0.025, 0.975])
        assert (found[metric].low, found[metric].high) == pytest.approx((low, high), abs=1e-12)


def test_by_hand() -> None:
    labels = np.array([1.0, 1.0, 0.0, 0.0, NAN])
    scores = np.array([0.9, 0.2, 0.4, 0.1, 0.99])
    found = table(labels, scores, scores, Thresholds(f1=0.15, youden=0.5), samples=5).findings["a"]
    assert found["f1"].value == pytest.approx(2 * 2 / (2 * 2 + 1))
    assert found["sensitivity"].value == 0.5
    assert found["specificity"].value == 1.0
    assert found["brier"].value == pytest.approx((0.1**2 + 0.8**2 + 0.4**2 + 0.1**2) / 4)
    assert found["ece"].value == pytest.approx((0.1 + 0.8 + 0.4 + 0.1) / 4)


def test_what_is_undefined_is_nan_and_counted() -> None:
    labels = np.array([[0.0, 0.0, NAN], [0.0, 1.0, NAN], [0.0, 0.0, NAN], [0.0, 1.0, NAN]])
    scores = np.tile([[0.1], [0.7], [0.3], [0.9]], (1, 3))
    thresholds = [choose_thresholds(labels[:, place], scores[:, place]) for place in range(3)]
    assert np.isnan(thresholds[0].f1)
    found = decision_table(
        labels, scores, scores, thresholds=thresholds, groups=np.arange(4), names=["no", "yes", "never"],
        samples=200,
    )  # fmt: skip
    assert np.isnan(found.findings["no"]["f1"].value)
    assert found.findings["no"]["brier"].value == pytest.approx((0.01 + 0.49 + 0.09 + 0.81) / 4)
    assert found.findings["yes"]["f1"].value == 1.0
    assert found.findings["yes"]["sensitivity"].num_undefined > 0  # resamples without a positive
    assert all(np.isnan(value.value) for value in found.findings["never"].values())
    assert found.num_findings == dict.fromkeys(METRICS, 1)  # "no" has one class
    assert found.mean["f1"].value == 1.0


def test_nothing_called_is_no_f1_of_nan() -> None:
    labels, scores, probabilities = sample(0)
    found = table(labels, scores, probabilities, Thresholds(f1=1e9, youden=1e9), samples=5).findings["a"]
    assert found["f1"].value == 0.0
    assert (found["sensitivity"].value, found["specificity"].value) == (0.0, 1.0)


def test_curves_are_those_of_scikit_learn() -> None:
    labels, scores, probabilities = sample(4)
    with_missing = np.append(labels, NAN), np.append(scores, 9.0), np.append(probabilities, 0.5)
    found = curves(*with_missing)
    fall_out, recall, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(found.roc, np.column_stack([fall_out, recall]), atol=1e-4)
    precision, reached, _ = precision_recall_curve(labels, scores)
    expected = np.column_stack([reached, precision])[:-1][::-1]
    np.testing.assert_allclose(found.precision_recall, expected, atol=1e-4)
    assert sum(number for _, _, number in found.reliability) == len(labels)
    gaps = sum(number * abs(p - y) for p, y, number in found.reliability) / len(labels)
    assert gaps == pytest.approx(slow_ece(labels, probabilities, np.ones(len(labels))), abs=1e-3)


def test_curves_are_thinned_and_empty_without_both_classes() -> None:
    generator = np.random.default_rng(0)
    labels, scores = (generator.random(5000) < 0.5).astype(float), generator.random(5000)
    found = curves(labels, scores, scores)
    assert len(found.roc) <= MOST_POINTS
    assert len(found.precision_recall) <= MOST_POINTS
    assert found.roc[0] == (0.0, 0.0)
    assert found.roc[-1] == (1.0, 1.0)
    assert curves(np.zeros(5), scores[:5], scores[:5]).roc == []
