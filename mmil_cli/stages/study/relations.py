"""Which property goes with which performance: rank correlations over the arms of a study."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import spearmanr

FEWEST_ARMS = 5


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Spearman's rank correlation of two figures over arms.

    Attributes:
        value: from -1 to 1; NaN where it is undefined.
        low, high: its interval; arms are what it takes as drawn.
        p: two-sided, of no relation.
        num_arms: that have both figures.
    """

    value: float
    low: float
    high: float
    p: float
    num_arms: int


def relate(properties: np.ndarray, performance: np.ndarray, *, level: float = 0.95) -> Relation:
    """Spearman's rank correlation between the arms' means over seeds of two figures.

    The interval is tanh(atanh r -+ z sqrt((1 + r^2 / 2) / (n - 3))) (Bonett and Wright 2000); p is of
    Student's t with n - 2 degrees of freedom. It tells how far the order of these arms would carry over to
    others like them: what seeds leave open is in the means. Undefined for fewer than five arms, or where one
    of the figures is the same for all of them.

    Args:
        properties: of each arm and seed [arm, seed]; NaN where unknown.
        performance: of the same [arm, seed].
        level: of the interval.
    """
    both = np.isfinite(properties).any(axis=1) & np.isfinite(performance).any(axis=1)
    first, second = (np.nanmean(values[both], axis=1) for values in (properties, performance))
    number = int(both.sum())
    if number < FEWEST_ARMS or min(np.ptp(first), np.ptp(second)) == 0:
        return Relation(value=math.nan, low=math.nan, high=math.nan, p=math.nan, num_arms=number)
    found = spearmanr(first, second)
    value = float(found.statistic)
    if abs(value) > 1 - 1e-12:
        return Relation(value=value, low=value, high=value, p=float(found.pvalue), num_arms=number)
    half = ndtri((1 + level) / 2) * math.sqrt((1 + value**2 / 2) / (number - 3))
    low, high = (math.tanh(math.atanh(value) + sign * half) for sign in (-1, 1))
    return Relation(value=value, low=low, high=high, p=float(found.pvalue), num_arms=number)
