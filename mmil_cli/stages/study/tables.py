"""The results of a study over its seeds: the mean of each row, and each row against the baseline."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmil_cli.metrics.intervals import Interval
from mmil_cli.metrics.replicates import Estimate, holm
from mmil_cli.stages.study.comparisons import Results, Side, estimate_difference, estimate_row
from mmil_cli.stages.study.plan import StudyPlan
from mmil_cli.stages.study.verdicts import LEAST_SEEDS


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One row of a table of the study, over all seeds.

    Attributes:
        data, condition, row, metric: which.
        estimate: of the metric.
        interval: of the study's level.
        chance: mean over seeds; NaN where it has no meaning.
        floor: whether the row is there to be beaten.
    """

    data: str
    condition: str
    row: str
    metric: str
    estimate: Estimate
    interval: Interval
    chance: float
    floor: bool


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One row against the baseline.

    Attributes:
        data, condition, row, metric: which.
        estimate: of the difference, positive where the row is better.
        interval: of the study's level.
        p: two-sided.
        p_holm: corrected over the rows and metrics of the table.
    """

    data: str
    condition: str
    row: str
    metric: str
    estimate: Estimate
    interval: Interval
    p: float
    p_holm: float


def summaries(plan: StudyPlan, results: Results) -> tuple[Summary, ...]:
    """Every metric of every row that has it, in the order of the recipe."""
    found = []
    for data, condition in _tables(plan):
        for row in plan.rows:
            for metric in metrics_of_row(results, data, condition, row.name, plan):
                side = Side(row=row.name, metric=metric)
                estimate = estimate_row(results, side, data=data, conditions=(condition,), seeds=plan.seeds)
                found.append(
                    Summary(
                        data=data,
                        condition=condition,
                        row=row.name,
                        metric=metric,
                        estimate=estimate,
                        interval=estimate.interval(plan.study.level),
                        chance=_chance(results, data, condition, side, plan.seeds),
                        floor=row.floor,
                    )
                )
    return tuple(found)


def gaps(plan: StudyPlan, results: Results) -> tuple[Gap, ...]:
    """Every row but floors against the baseline, in the metrics of the tables."""
    declared = plan.metrics()
    (baseline,) = plan.row_names(plan.study.baseline)
    found = []
    for data, condition in _tables(plan):
        sides = [
            (row.name, metric)
            for row in plan.rows
            for metric in plan.study.metrics
            if not row.floor and row.name != baseline and not declared[metric].is_time
        ]
        estimates = [
            estimate_difference(
                results,
                Side(row=name, metric=metric),
                Side(row=baseline, metric=metric),
                data=data,
                conditions=(condition,),
                seeds=plan.seeds,
                higher_is_better=declared[metric].higher_is_better,
            )
            for name, metric in sides
        ]
        p_values = [e.p_value() if e.num_seeds >= LEAST_SEEDS else math.nan for e in estimates]
        for (name, metric), estimate, p, p_holm in zip(
            sides, estimates, p_values, holm(p_values), strict=True
        ):
            if estimate.num_seeds:
                found.append(
                    Gap(
                        data=data,
                        condition=condition,
                        row=name,
                        metric=metric,
                        estimate=estimate,
                        interval=estimate.interval(plan.study.level),
                        p=p,
                        p_holm=p_holm,
                    )
                )
    return tuple(found)


def metrics_of_row(results: Results, data: str, condition: str, row: str, plan: StudyPlan) -> tuple[str, ...]:
    """The metrics that the finished cells of a row come to, in the order of the first of them."""
    names: dict[str, None] = {}
    for seed in plan.seeds:
        cell = results.get((data, condition, row, seed))
        names |= dict.fromkeys(figure.metric for figure in cell.figures) if cell else {}
    return tuple(names)


def _tables(plan: StudyPlan) -> Iterator[tuple[str, str]]:
    for data in plan.data_names():
        for condition in plan.conditions:
            yield data, condition


def _chance(results: Results, data: str, condition: str, side: Side, seeds: Sequence[int]) -> float:
    cells = [results.get((data, condition, side.row, seed)) for seed in seeds]
    figures = [cell.figure(side.metric) for cell in cells if cell]
    known = [f.chance for f in figures if f is not None and not math.isnan(f.chance)]
    return sum(known) / len(known) if known else math.nan
