"""Recall at k, rank of the first match and mAP, with ties at their expected value and chance beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmil_cli.metrics.average_precision import chance_average_precision
from mmil_cli.metrics.intervals import Interval, interval, patient_weights, row_blocks, weighted_mean
from mmil_cli.metrics.ranks import RANK, MatchRanks, match_ranks, probability_missed, query_figures


@dataclass(frozen=True)
class RetrievalRow:
    """One figure (`R@5`, `median rank`, `mean rank`, `mAP`) beside what a random order would give."""

    name: str
    measured: Interval
    chance: float


@dataclass(frozen=True)
class RetrievalTable:
    """The figures of one direction; `num_without_match` queries have no match and are left out."""

    num_queries: int
    num_without_match: int
    num_gallery: int
    rows: tuple[RetrievalRow, ...]


def retrieval_table(
    scores: np.ndarray,
    relevant: np.ndarray,
    *,
    groups: Sequence[object] | np.ndarray,
    ks: Sequence[int] = (1, 5, 10),
    samples: int = 1000,
    seed: int = 0,
) -> RetrievalTable:
    """R@k, median and mean rank of the best match, and mAP, for a score matrix held at once.

    Args:
        scores: [Q, G], as for `match_ranks`.
        relevant: [Q, G].
        groups: The patient of each query [Q]; resampled for the intervals, over a fixed gallery.
        ks: The k of R@k.
        samples: Number of resamples.
        seed: Of the resampling.
    """
    return rank_table(match_ranks(scores, relevant), groups=groups, ks=ks, samples=samples, seed=seed)


def rank_table(
    ranks: MatchRanks,
    *,
    groups: Sequence[object] | np.ndarray,
    ks: Sequence[int] = (1, 5, 10),
    samples: int = 1000,
    seed: int = 0,
) -> RetrievalTable:
    """As `retrieval_table`, from ranks gathered block by block."""
    matched = ranks.num_matches > 0
    num_matches = ranks.num_matches[matched]
    figures = query_figures(ranks, ks=ks)
    values = np.column_stack([figure[matched] for figure in figures.values()])
    expected = figures[RANK][matched]
    weights = patient_weights(np.asarray(groups)[matched], samples=samples, seed=seed)
    means = _point_and_draws(values, weights)
    medians = _medians(expected, np.concatenate([np.ones((1, len(expected)), np.int16), weights]))
    rows = [
        RetrievalRow(f"R@{k}", interval(means[0, i], means[1:, i]), _chance_recall(num_matches, ranks, k))
        for i, k in enumerate(ks)
    ]
    rows.append(
        RetrievalRow("median rank", interval(medians[0], medians[1:]), _chance_median(num_matches, ranks))
    )
    rows.append(
        RetrievalRow("mean rank", interval(means[0, -2], means[1:, -2]), _chance_mean(num_matches, ranks))
    )
    rows.append(RetrievalRow("mAP", interval(means[0, -1], means[1:, -1]), _chance_map(num_matches, ranks)))
    return RetrievalTable(int(matched.sum()), int((~matched).sum()), ranks.num_gallery, tuple(rows))


def _point_and_draws(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    everything = weighted_mean(values, np.ones((1, len(values))))
    return np.concatenate([everything, weighted_mean(values, weights)])


def _medians(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The median of `values` [Q] repeated as each row of `weights` [S, Q] says, as [S]."""
    if values.size == 0:
        return np.full(len(weights), np.nan)
    order = np.argsort(values)
    ordered = values[order]
    medians = np.empty(len(weights))
    for block in row_blocks(*weights.shape):
        reached = np.cumsum(weights[block][:, order], axis=1, dtype=np.int64)
        total = reached[:, -1:]
        lower = ordered[np.argmax(2 * reached >= total, axis=1)]
        upper = ordered[np.argmax(2 * reached > total, axis=1)]
        medians[block] = (lower + upper) / 2
    return medians


def _chance_recall(num_matches: np.ndarray, ranks: MatchRanks, k: int) -> float:
    gallery = np.full(len(num_matches), ranks.num_gallery)
    missed = probability_missed(gallery, num_matches, np.minimum(gallery, k))
    return float(1.0 - missed.mean()) if missed.size else float("nan")


def _chance_map(num_matches: np.ndarray, ranks: MatchRanks) -> float:
    found = chance_average_precision(num_matches, np.full(len(num_matches), ranks.num_gallery))
    return float(found.mean()) if found.size else float("nan")


def _chance_mean(num_matches: np.ndarray, ranks: MatchRanks) -> float:
    return float(((ranks.num_gallery + 1) / (num_matches + 1)).mean()) if num_matches.size else float("nan")


def _chance_median(num_matches: np.ndarray, ranks: MatchRanks) -> float:
    """The median of the rank of the first match in a random order, over orders and queries together."""
    if num_matches.size == 0:
        return float("nan")
    matches, counts = np.unique(num_matches, return_counts=True)
    share = counts / counts.sum()
    missed = np.ones(len(matches))
    lower = 0
    for rank in range(1, ranks.num_gallery + 1):
        left = ranks.num_gallery - rank + 1
        missed = missed * np.maximum(left - matches, 0) / left
        reached = 1.0 - float(missed @ share)
        if not lower and reached >= 0.5 - 1e-9:
            lower = rank
        if reached > 0.5 + 1e-9:
            return (lower + rank) / 2
    raise AssertionError("a match is always found within the gallery")
