"""Decisions at thresholds chosen elsewhere, and how far a score is a probability; intervals by patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmil_cli.metrics.calibration_error import CalibrationError
from mmil_cli.metrics.intervals import Interval, interval, mean_of_defined, patient_weights, row_blocks

NUM_BINS = 10
METRICS = ("f1", "sensitivity", "specificity", "brier", "ece")
_SUMS = METRICS[:-1]
"""What is a ratio of sums over films, and has the percentile interval."""


@dataclass(frozen=True)
class Thresholds:
    """Decide for a finding where the score is at least the threshold; NaN where none could be chosen.

    Attributes:
        f1: where F1 is highest on the films it was chosen on.
        youden: where sensitivity + specificity is (Youden 1950).
    """

    f1: float
    youden: float


@dataclass(frozen=True)
class DecisionTable:
    """Figures by metric, as `METRICS` has them.

    Attributes:
        findings: of each finding; NaN where it is undefined.
        mean: over the findings that have both classes and in which the metric is defined.
        num_findings: how many these are.
    """

    findings: Mapping[str, Mapping[str, Interval]]
    mean: Mapping[str, Interval]
    num_findings: Mapping[str, int]


def choose_thresholds(labels: np.ndarray, scores: np.ndarray) -> Thresholds:
    """The best thresholds among the scores of some films, of equals the highest; NaN without both classes.

    Args:
        labels: 0, 1 or NaN (left out) [n].
        scores: [n].
    """
    known = ~np.isnan(labels)
    positive, scores = labels[known] == 1, scores[known]
    if not positive.any() or positive.all():
        return Thresholds(float("nan"), float("nan"))
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], positive[order].cumsum()
    last = np.append(ordered[1:] != ordered[:-1], True)  # ties are decided together
    ordered, hits, called = ordered[last], hits[last], (np.flatnonzero(last) + 1)
    f1 = 2 * hits / (called + positive.sum())
    youden = hits / positive.sum() - (called - hits) / (~positive).sum()
    return Thresholds(float(ordered[f1.argmax()]), float(ordered[youden.argmax()]))


def decision_table(
    labels: np.ndarray,
    scores: np.ndarray,
    probabilities: np.ndarray,
    *,
    thresholds: Sequence[Thresholds],
    groups: Sequence[object] | np.ndarray,
    names: Sequence[str],
    samples: int = 1000,
    seed: int = 0,
) -> DecisionTable:
    """F1, sensitivity, specificity, Brier score and calibration error of every finding, and their means.

    - F1 = 2 TP / (2 TP + FP + FN) at the threshold for F1; 0 where nothing is called and something is there.
    - sensitivity = TP / (TP + FN) and specificity = TN / (TN + FP) at Youden's.
    - Brier = mean (p - y)^2.
    - ECE = sum_b n_b / n |mean y - mean p| over ten bins of p of equal width, p being the probability of the
      finding (Naeini et al. 2015, for the positive class); its interval is that of `calibration_error`.

    Args:
        labels: 0, 1 or NaN (left out) [n, F].
        scores: [n, F].
        probabilities: the scores as probabilities [n, F].
        thresholds: of each finding, chosen on other films.
        groups: the patient of each row [n].
        names: the findings [F].
        samples: number of resamples.
        seed: of the resampling; equal seeds give equal resamples in every table.
    """
    weights = patient_weights(groups, samples=samples, seed=seed)
    everything = np.ones((1, len(labels)))
    values = np.full((len(_SUMS), len(names)), np.nan)
    draws = np.full((len(_SUMS), samples, len(names)), np.nan)
    errors: list[CalibrationError] = []
    for place in range(len(names)):
        column = _counts(labels[:, place], scores[:, place], probabilities[:, place], thresholds[place])
        whole, resampled = everything @ column, _weighted_sums(weights, column)
        values[:, place] = _figures(whole, thresholds[place])[:, 0]
        draws[:, :, place] = _figures(resampled, thresholds[place])
        errors.append(CalibrationError.of(_bin_errors(whole)[0], _bin_errors(resampled)))
    findings = {
        name: {metric: interval(values[m, place], draws[m, :, place]) for m, metric in enumerate(_SUMS)}
        | {"ece": errors[place].interval()}
        for place, name in enumerate(names)
    }
    both = [{0.0, 1.0} <= set(np.unique(column)) for column in labels.T]
    means, mean_draws = mean_of_defined(values[:, both]), mean_of_defined(draws[:, :, both])
    calibrated = [error for error, kept in zip(errors, both, strict=True) if kept]
    return DecisionTable(
        findings=findings,
        mean={metric: interval(float(means[m]), mean_draws[m]) for m, metric in enumerate(_SUMS)}
        | {"ece": CalibrationError.mean(calibrated).interval()},
        num_findings={metric: int((~np.isnan(values[m, both])).sum()) for m, metric in enumerate(_SUMS)}
        | {"ece": sum(not np.isnan(error.value) for error in calibrated)},
    )


def bin_of(probabilities: np.ndarray) -> np.ndarray:
    """The bin 0..9 of each probability; its upper edge belongs to the next one, but 1 to the last."""
    return np.minimum((probabilities * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def _counts(
    labels: np.ndarray, scores: np.ndarray, probabilities: np.ndarray, thresholds: Thresholds
) -> np.ndarray:
    """What the figures are sums of, one column each [n, 6 + 10 + 1]; rows without a label are 0."""
    known = ~np.isnan(labels)
    positive = np.where(known, labels, 0.0)
    negative = known - positive
    by_f1, by_youden = scores >= thresholds.f1, scores >= thresholds.youden
    gap = np.where(known, positive - probabilities, 0.0)
    bins = np.zeros((len(labels), NUM_BINS))
    bins[np.arange(len(labels)), bin_of(np.where(known, probabilities, 0.0))] = gap
    sums = (
        positive,
        negative,
        positive * by_f1,
        negative * by_f1,
        positive * by_youden,
        negative * by_youden,
    )
    return np.column_stack([*sums, bins, gap**2])


def _weighted_sums(weights: np.ndarray, columns: np.ndarray) -> np.ndarray:
    sums = np.empty((len(weights), columns.shape[1]))
    for block in row_blocks(*weights.shape):
        sums[block] = weights[block].astype(np.float64) @ columns
    return sums


def _figures(sums: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """The metrics but ECE [4, S] of sums [S, 17]; NaN where the films, or the threshold, are missing."""
    positive, negative, hits, alarms, youden_hits, youden_alarms = sums[:, :6].T
    total = positive + negative
    figures = np.stack(
        [
            _ratio(2 * hits, hits + alarms + positive, positive > 0),
            _ratio(youden_hits, positive, positive > 0),
            _ratio(negative - youden_alarms, negative, negative > 0),
            _ratio(sums[:, -1], total, total > 0),
        ]
    )
    if np.isnan(thresholds.f1):
        figures[:3] = np.nan
    return figures


def _bin_errors(sums: np.ndarray) -> np.ndarray:
    """Sum of y - p in each bin over the number of films [S, 10], of sums [S, 17]; NaN without films."""
    total = sums[:, 0] + sums[:, 1]
    return np.stack([_ratio(column, total, total > 0) for column in sums[:, 6:-1].T], axis=1)


def _ratio(part: np.ndarray, whole: np.ndarray, defined: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=defined)
