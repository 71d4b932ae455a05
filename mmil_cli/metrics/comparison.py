"""Two models on the same films: the difference of their figures, by paired bootstrap and by DeLong."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from mmil_cli.metrics.intervals import Interval, interval


@dataclass(frozen=True)
class Difference:
    """One figure of two models.

    Attributes:
        first: of the first model.
        second: of the second one.
        gap: second less first, with its 95 % interval from the same resamples of patients.
        p_bootstrap: two-sided, from those resamples; NaN where the gap is undefined.
        p_delong: two-sided, of DeLong's test; NaN for what is no AUROC.
    """

    first: float
    second: float
    gap: Interval
    p_bootstrap: float
    p_delong: float = float("nan")


@dataclass(frozen=True)
class DeLong:
    """Two AUROCs of the same films and what is known of their difference.

    Attributes:
        first, second: the areas.
        variance: of second - first.
        p: two-sided, of no difference; 1 where the two rank alike.
    """

    first: float
    second: float
    variance: float
    p: float


def delong(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> DeLong:
    """DeLong's test of two correlated AUROCs (DeLong, DeLong and Clarke-Pearson 1988).

    With V10 the share of negatives that each positive outranks and V01 the share of positives that outrank
    each negative (ties count half), var(A2 - A1) = var(V10_2 - V10_1) / m + var(V01_2 - V01_1) / n, m
    positives and n negatives. Computed from mid-ranks (Sun and Xu 2014). Takes films for independent: where
    patients have several, the bootstrap by patient is the one to trust.

    Args:
        labels: 0 or 1 [N].
        first: scores of one model [N].
        second: scores of the other [N].

    Returns:
        NaN in all but the areas where a class has fewer than two films; NaN throughout where one has none.
    """
    positive = labels == 1
    placements = [_placements(positive, scores) for scores in (first, second)]
    (a10, a01), (b10, b01) = placements
    one, other = (float(v10.mean()) if len(v10) and len(a01) else float("nan") for v10 in (a10, b10))
    if min(len(a10), len(a01)) < 2:
        return DeLong(one, other, float("nan"), float("nan"))
    variance = float((b10 - a10).var(ddof=1) / len(a10) + (b01 - a01).var(ddof=1) / len(a01))
    gap = other - one
    if variance <= 0:
        return DeLong(one, other, 0.0, 1.0 if gap == 0 else 0.0)
    return DeLong(one, other, variance, float(2 * ndtr(-abs(gap) / np.sqrt(variance))))


def difference(
    values: tuple[float, float], draws: tuple[np.ndarray, np.ndarray], *, p_delong: float = float("nan")
) -> Difference:
    """The paired difference of a figure from its resamples [S] of two models, the same patients in each.

    p = 2 min(#(gap <= 0) + 1, #(gap >= 0) + 1) / (S + 1), at most 1, over resamples in which both are
    defined.
    """
    gaps = draws[1] - draws[0]
    defined = gaps[~np.isnan(gaps)]
    gap = interval(values[1] - values[0], gaps)
    p = float("nan")
    if defined.size and not np.isnan(gap.value):
        rarer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
        p = min(1.0, 2 * (rarer + 1) / (defined.size + 1))
    return Difference(values[0], values[1], gap, p, p_delong)


def _placements(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V10 of each positive and V01 of each negative, from their ranks among all and among their own."""
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(scores)
    v10 = (ranks[positive] - rankdata(scores[positive])) / max(num_negative, 1)
    v01 = 1 - (ranks[~positive] - rankdata(scores[~positive])) / max(num_positive, 1)
    return v10, v01
