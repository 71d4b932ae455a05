"""AUROC and AUPRC per finding with patient-bootstrap intervals; missing labels are NaN and dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from mmil_cli.errors import DataError
from mmil_cli.metrics.intervals import Interval, interval, mean_of_defined, patient_weights, row_blocks


@dataclass(frozen=True)
class FindingRow:
    """One finding: how many films carry it or not, and how well the scores tell them apart.

    `prevalence` is the positive share of the labelled films, which is also the AUPRC of chance.
    """

    name: str
    num_positive: int
    num_negative: int
    prevalence: float
    auroc: Interval
    auprc: Interval


@dataclass(frozen=True)
class MeanRow:
    """The mean over the findings that are defined (both classes present), from the same resamples."""

    num_findings: int
    prevalence: float
    auroc: Interval
    auprc: Interval


@dataclass(frozen=True)
class ClassificationTable:
    """All findings and their mean."""

    rows: tuple[FindingRow, ...]
    mean: MeanRow


@dataclass(frozen=True)
class _Ranking:
    """Labelled rows in descending order of score, with the first position of each group of ties."""

    order: np.ndarray
    positive: np.ndarray
    starts: np.ndarray


@overload
def auroc(labels: np.ndarray, scores: np.ndarray, weights: None = None) -> float: ...
@overload
def auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray: ...
def auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Area under the ROC curve: `P(s+ > s-) + P(s+ = s-) / 2` (Mann-Whitney).

    Args:
        labels: 0, 1 or NaN (missing: the row is dropped) [n].
        scores: Higher means more likely positive [n].
        weights: None, row weights [n], or one row of weights per resample [S, n].

    Returns:
        A number, or for given weights an array of their leading shape ([] or [S]). NaN where one
        class has no weight.

    Raises:
        DataError: A label is not 0, 1 or NaN, or a labelled row has a NaN score.
    """
    areas = _areas(labels, scores, weights)[0]
    return areas if weights is not None else float(areas)


@overload
def auprc(labels: np.ndarray, scores: np.ndarray, weights: None = None) -> float: ...
@overload
def auprc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray: ...
def auprc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Average precision `sum_t (R_t - R_{t-1}) P_t` over the distinct scores t, highest first.

    No interpolation. Arguments, result and errors as for `auroc`.
    """
    areas = _areas(labels, scores, weights)[1]
    return areas if weights is not None else float(areas)


def classification_table(
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    groups: Sequence[object] | np.ndarray,
    names: Sequence[str],
    samples: int = 1000,
    seed: int = 0,
) -> ClassificationTable:
    """AUROC and AUPRC of every finding and their means.

    The mean runs over the findings defined in the data; within a resample, over those of them that
    are defined in it.

    Args:
        labels: 0, 1 or NaN [n, F]; what an uncertain label counts as is the caller's choice, made before.
        scores: [n, F].
        groups: The patient of each row [n].
        names: The findings [F].
        samples: Number of resamples S.
        seed: Of the resampling.

    Raises:
        DataError: As for `auroc`.
    """
    weights = patient_weights(groups, samples=samples, seed=seed)
    everything = np.ones((1, len(labels)))
    values = np.empty((2, 1, len(names)))
    draws = np.empty((2, samples, len(names)))
    for column in range(len(names)):
        ranking = _ranking(labels[:, column], scores[:, column])
        values[:, :, column] = _ranking_areas(ranking, everything)
        draws[:, :, column] = _ranking_areas(ranking, weights)
    rows = [
        _finding_row(name, labels[:, column], values[:, 0, column], draws[:, :, column])
        for column, name in enumerate(names)
    ]
    return ClassificationTable(tuple(rows), _mean_row(rows, values[:, 0], draws))


def _finding_row(name: str, labels: np.ndarray, values: np.ndarray, draws: np.ndarray) -> FindingRow:
    num_positive, num_negative = int((labels == 1).sum()), int((labels == 0).sum())
    num_labelled = num_positive + num_negative
    return FindingRow(
        name=name,
        num_positive=num_positive,
        num_negative=num_negative,
        prevalence=num_positive / num_labelled if num_labelled else float("nan"),
        auroc=interval(values[0], draws[0]),
        auprc=interval(values[1], draws[1]),
    )


def _mean_row(rows: Sequence[FindingRow], values: np.ndarray, draws: np.ndarray) -> MeanRow:
    means = mean_of_defined(values)
    mean_draws = mean_of_defined(draws)
    prevalences = [row.prevalence for row in rows if not np.isnan(row.auroc.value)]
    return MeanRow(
        num_findings=len(prevalences),
        prevalence=float(mean_of_defined(np.array(prevalences))),
        auroc=interval(means[0], mean_draws[0]),
        auprc=interval(means[1], mean_draws[1]),
    )


def _areas(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """AUROC and AUPRC, [2] or [2, S], whatever shape the weights have."""
    if weights is None:
        weights = np.ones(len(labels))
    areas = _ranking_areas(_ranking(labels, scores), np.atleast_2d(weights))
    return areas.reshape(2, *weights.shape[:-1])


def _ranking(labels: np.ndarray, scores: np.ndarray) -> _Ranking:
    labelled = np.flatnonzero(~np.isnan(labels))
    _check(labels[labelled], scores[labelled])
    order = labelled[np.argsort(-scores[labelled], kind="stable")]
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(order)])
    return _Ranking(order, labels[order] == 1, starts)


def _check(labels: np.ndarray, scores: np.ndarray) -> None:
    strange = np.unique(labels[(labels != 0) & (labels != 1)])
    if strange.size:
        raise DataError(
            f"A label is {strange[0]:g}; allowed are 0, 1 and NaN (missing). "
            "Decide first what an uncertain label (-1) counts as: zero, one or missing."
        )
    if np.isnan(scores).any():
        raise DataError(
            f"{int(np.isnan(scores).sum())} of {scores.size} scores are NaN, so the films cannot be ranked; "
            "look at the features that the checkpoint gives for them."
        )


def _ranking_areas(ranking: _Ranking, weights: np.ndarray) -> np.ndarray:
    """AUROC and AUPRC [2, S] under weights [S, n], a bounded block of resamples at a time."""
    areas = np.full((2, len(weights)), np.nan)
    if ranking.order.size:
        for block in row_blocks(len(weights), ranking.order.size):
            areas[:, block] = _block_areas(ranking, weights[block])
    return areas


def _block_areas(ranking: _Ranking, weights: np.ndarray) -> np.ndarray:
    drawn = weights[:, ranking.order].astype(np.float64)
    positive = _per_score(drawn * ranking.positive, ranking.starts)  # [S, T]
    total = _per_score(drawn, ranking.starts)
    positives_above = np.cumsum(positive, axis=1)  # at or above each score
    total_above = np.cumsum(total, axis=1)
    num_positive, num_total = positives_above[:, -1], total_above[:, -1]
    num_negative = num_total - num_positive
    negative = total - positive
    # Mann-Whitney from the negatives' side: positives above, half of those tied.
    won = np.einsum("st,st->s", negative, positives_above - 0.5 * positive)
    precision = np.divide(positives_above, total_above, out=np.zeros_like(total), where=total_above > 0)
    gained = np.einsum("st,st->s", positive, precision)
    areas = np.full((2, len(weights)), np.nan)
    both = (num_positive > 0) & (num_negative > 0)
    np.divide(won, num_positive * num_negative, out=areas[0], where=both)
    np.divide(gained, num_positive, out=areas[1], where=both)
    return areas


def _per_score(masses: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sums over tied rows: [S, n] to [S, distinct scores]."""
    if len(starts) == masses.shape[1]:
        return masses
    return np.add.reduceat(masses, starts, axis=1)
