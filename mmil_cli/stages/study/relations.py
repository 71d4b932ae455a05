"""Which property goes with which performance: rank correlations over the arms of a study."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import spearmanr

from mmil_cli.metrics.replicates import holm
from mmil_cli.stages.study.comparisons import Results
from mmil_cli.stages.study.plan import StudyPlan

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
    pairs = np.stack([properties, performance])
    pairs = pairs[:, np.isfinite(pairs).any(axis=2).all(axis=0)]
    first, second = np.nanmean(pairs, axis=2)
    number = len(first)
    if number < FEWEST_ARMS or min(np.ptp(first), np.ptp(second)) == 0:
        return Relation(value=math.nan, low=math.nan, high=math.nan, p=math.nan, num_arms=number)
    found = spearmanr(first, second)
    value = round(float(found.statistic), 12)  # rounding leaves 1 as somewhat less
    if abs(value) == 1:
        return Relation(value=value, low=value, high=value, p=float(found.pvalue), num_arms=number)
    half = ndtri((1 + level) / 2) * math.sqrt((1 + value**2 / 2) / (number - 3))
    low, high = (math.tanh(math.atanh(value) + sign * half) for sign in (-1, 1))
    return Relation(value=value, low=low, high=high, p=float(found.pvalue), num_arms=number)


@dataclass(frozen=True, kw_only=True)
class RelationRow:
    """A relation of a study.

    Attributes:
        data, condition: where.
        quality: the metric that tells what an arm is like.
        performance: the metric that tells how good it is.
        relation: of the two.
        p_holm: corrected over all relations on the data.
    """

    data: str
    condition: str
    quality: str
    performance: str
    relation: Relation
    p_holm: float


def relations(plan: StudyPlan, results: Results) -> tuple[RelationRow, ...]:
    """Those that the recipe asks for, in its order; those that nothing is known of are left out."""
    return tuple(row for data in plan.data_names() for row in _on_data(plan, results, data))


def _on_data(plan: StudyPlan, results: Results, data: str) -> Iterator[RelationRow]:
    asked = plan.study.relations
    if asked is None:
        return
    places = list(itertools.product(plan.conditions, asked.properties, asked.performance))
    found = [
        relate(
            _values(plan, results, data, condition, quality),
            _values(plan, results, data, condition, performance),
            level=plan.study.level,
        )
        for condition, quality, performance in places
    ]
    corrected = holm([relation.p for relation in found])
    for (condition, quality, performance), relation, p in zip(places, found, corrected, strict=True):
        if not math.isnan(relation.value):
            yield RelationRow(
                data=data,
                condition=condition,
                quality=quality,
                performance=performance,
                relation=relation,
                p_holm=p,
            )


def _values(plan: StudyPlan, results: Results, data: str, condition: str, metric: str) -> np.ndarray:
    """A metric of every arm that is no floor [arm, seed]; NaN where a cell has none."""
    values = []
    for row in plan.rows:
        if not row.floor:
            cells = [results.get((data, condition, row.name, seed)) for seed in plan.seeds]
            figures = [cell.figure(metric) if cell else None for cell in cells]
            values.append([figure.value if figure else math.nan for figure in figures])
    return np.array(values, np.float64).reshape(len(values), len(plan.seeds))
