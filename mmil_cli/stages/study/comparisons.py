"""From finished cells to estimates: the mean of a row, and the paired difference of two rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmil_cli.metrics.replicates import Estimate, over_seeds
from mmil_cli.stages.study.figures import Figure
from mmil_cli.stages.study.folder import CellResult

Key = tuple[str, str, str, int]
"""Data, condition, row and seed of a cell."""

Results = Mapping[Key, CellResult]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison: a metric of a row."""

    row: str
    metric: str


def estimate_row(
    results: Results, side: Side, *, data: str, conditions: Sequence[str], seeds: Sequence[int]
) -> Estimate:
    """The mean of a row's metric over conditions and seeds; undefined without any finished cell."""
    return _over_seeds([_figures(results, side, data, conditions, seed) for seed in seeds], [])


def estimate_difference(
    results: Results,
    better: Side,
    than: Side,
    *,
    data: str,
    conditions: Sequence[str],
    seeds: Sequence[int],
    higher_is_better: bool = True,
) -> Estimate:
    """How much better the first is, paired: of the same seed, and of the same resamples of cases.

    Seeds that lack a cell of either side are left out. Of several conditions it is the mean.
    """
    pairs = [
        (
            _figures(results, better, data, conditions, seed),
            _figures(results, than, data, conditions, seed),
        )
        for seed in seeds
    ]
    if not higher_is_better:
        pairs = [(second, first) for first, second in pairs]
    return _over_seeds([first for first, _ in pairs], [second for _, second in pairs])


def _figures(
    results: Results, side: Side, data: str, conditions: Sequence[str], seed: int
) -> list[Figure] | None:
    """The figure of a seed under every condition; None where one is missing or undefined."""
    found = []
    for condition in conditions:
        cell = results.get((data, condition, side.row, seed))
        figure = cell.figure(side.metric) if cell else None
        if figure is None or np.isnan(figure.value):
            return None
        found.append(figure)
    return found


def _over_seeds(plus: Sequence[list[Figure] | None], minus: Sequence[list[Figure] | None]) -> Estimate:
    """The mean over seeds of the mean over conditions, of `plus` or of `plus` less `minus`."""
    others: Sequence[list[Figure] | None] = minus or [[] for _ in plus]
    values, draws, cases, groups = [], [], [], []
    for first, second in zip(plus, others, strict=True):
        if first is None or second is None:
            continue
        values.append(_mean(first) - (_mean(second) if second else 0.0))
        draws.append(_mean_draws(first, second))
        cases.append(tuple(figure.cases for figure in (*first, *second)))
        groups += [figure.num_groups for figure in (*first, *second)]
    known = [drawn for drawn in draws if drawn is not None]
    return over_seeds(
        np.array(values, np.float64),
        np.stack(known) if known and len(known) == len(draws) else None,
        num_groups=min(groups, default=0),
        shared=len(set(cases)) <= 1,
    )


def _mean(figures: Sequence[Figure]) -> float:
    return float(np.mean([figure.value for figure in figures]))


def _mean_draws(first: Sequence[Figure], second: Sequence[Figure]) -> np.ndarray | None:
    """Resamples of the mean, or of the difference of means [S]; None where a figure has none."""
    plus = [figure.draws for figure in first if figure.draws is not None]
    minus = [figure.draws for figure in second if figure.draws is not None]
    if len(plus) < len(first) or len(minus) < len(second):
        return None
    mean: np.ndarray = np.mean(plus, axis=0)
    return mean - np.mean(minus, axis=0) if minus else mean
