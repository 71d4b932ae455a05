"""Grounding over many phrases: micro and macro averages, per finding, and paired against a control."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from mmil_cli.metrics.grounding import METRICS, GroundingScores
from mmil_cli.metrics.intervals import (
    Interval,
    interval,
    mean_intervals,
    mean_of_defined,
    patient_weights,
    weighted_mean,
)


@dataclass(frozen=True)
class GroundingRow:
    """Means over some samples: an interval per metric, and for how many samples each is undefined."""

    name: str
    num_samples: int
    metrics: Mapping[str, Interval]
    num_undefined: Mapping[str, int]


@dataclass(frozen=True)
class GroundingTable:
    """`micro` is the mean over samples, `macro` the mean over the findings' means."""

    micro: GroundingRow
    macro: GroundingRow
    findings: tuple[GroundingRow, ...]


def grounding_table(
    scores: Sequence[GroundingScores],
    *,
    groups: Sequence[object] | np.ndarray,
    names: Sequence[str],
    samples: int = 1000,
    seed: int = 0,
) -> GroundingTable:
    """Averages with intervals that resample patients; the same resamples serve every row.

    Args:
        scores: One entry per phrase and film [n].
        groups: The patient of each [n].
        names: The finding of each [n]; rows follow in alphabetical order.
        samples: Number of resamples.
        seed: Of the resampling.
    """
    return _table(score_matrix(scores), groups=groups, names=names, samples=samples, seed=seed)


def paired_table(
    scores: Sequence[GroundingScores],
    controls: Sequence[GroundingScores],
    *,
    groups: Sequence[object] | np.ndarray,
    names: Sequence[str],
    samples: int = 1000,
    seed: int = 0,
) -> GroundingTable:
    """The differences `scores - controls` over the same samples, averaged as `grounding_table` averages.

    Above the control by more than chance means `low > 0`. Pairs with an undefined side are left out.
    """
    differences = score_matrix(scores) - score_matrix(controls)
    return _table(differences, groups=groups, names=names, samples=samples, seed=seed)


def _table(
    values: np.ndarray,
    *,
    groups: Sequence[object] | np.ndarray,
    names: Sequence[str],
    samples: int,
    seed: int,
) -> GroundingTable:
    weights = patient_weights(groups, samples=samples, seed=seed)
    of_finding = np.asarray(names)
    findings = sorted(set(names))
    members = [of_finding == finding for finding in findings]
    rows = [_row(name, values[m], weights[:, m]) for name, m in zip(findings, members, strict=True)]
    return GroundingTable(
        micro=_row("micro", values, weights),
        macro=_macro_row(values, weights, members),
        findings=tuple(rows),
    )


def score_matrix(scores: Sequence[GroundingScores]) -> np.ndarray:
    """The scores as [n, metrics], columns in the order of `METRICS`."""
    return np.array([astuple(score) for score in scores], dtype=np.float64).reshape(len(scores), len(METRICS))


def _row(name: str, values: np.ndarray, weights: np.ndarray) -> GroundingRow:
    return _named(name, values, mean_intervals(values, weights))


def _macro_row(values: np.ndarray, weights: np.ndarray, members: Sequence[np.ndarray]) -> GroundingRow:
    if not members:
        return _row("macro", values, weights)
    means = np.stack([mean_of_defined(values[m].T) for m in members], axis=-1)  # [metrics, findings]
    draws = np.stack([weighted_mean(values[m], weights[:, m]) for m in members], axis=-1)
    macro, macro_draws = mean_of_defined(means), mean_of_defined(draws)
    intervals = [interval(macro[i], macro_draws[:, i]) for i in range(len(METRICS))]
    return _named("macro", values, intervals)


def _named(name: str, values: np.ndarray, intervals: Sequence[Interval]) -> GroundingRow:
    undefined = np.isnan(values).sum(axis=0).tolist()
    return GroundingRow(
        name=name,
        num_samples=len(values),
        metrics=dict(zip(METRICS, intervals, strict=True)),
        num_undefined=dict(zip(METRICS, undefined, strict=True)),
    )
