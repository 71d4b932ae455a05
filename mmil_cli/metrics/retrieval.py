"""Recall at k and rank of the first match, with ties at their expected value and chance beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmil_cli.errors import DataError
from mmil_cli.metrics.intervals import Interval, interval, patient_weights, row_blocks, weighted_mean


@dataclass(frozen=True)
class MatchRanks:
    """Where the best match of each query stands [Q], all that the metrics need of a score matrix.

    `num_above` items score higher than the best match; `num_tied` score the same, itself included, and
    `num_tied_matches` of those are matches. A query without any match has zeros.
    """

    num_above: np.ndarray
    num_tied: np.ndarray
    num_tied_matches: np.ndarray
    num_matches: np.ndarray
    num_gallery: int


@dataclass(frozen=True)
class RetrievalRow:
    """One figure (`R@5`, `median rank`, `mean rank`) beside what a random order would give."""

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


def match_ranks(scores: np.ndarray, relevant: np.ndarray) -> MatchRanks:
    """Where the best match of each query stands; call it on blocks of queries to save memory.

    Args:
        scores: Higher is better [Q, G].
        relevant: True where the gallery item is a match of the query [Q, G].

    Raises:
        DataError: A score is NaN.
    """
    if np.isnan(scores).any():
        raise DataError(f"{int(np.isnan(scores).sum())} of {scores.size} retrieval scores are NaN.")
    best = np.where(relevant, scores, -np.inf).max(axis=1, initial=-np.inf, keepdims=True)
    tied = scores == best
    num_matches = relevant.sum(axis=1)
    matched = num_matches > 0
    return MatchRanks(
        num_above=np.where(matched, (scores > best).sum(axis=1), 0),
        num_tied=np.where(matched, tied.sum(axis=1), 0),
        num_tied_matches=(tied & relevant).sum(axis=1),
        num_matches=num_matches,
        num_gallery=scores.shape[1],
    )


def join_ranks(blocks: Iterable[MatchRanks]) -> MatchRanks:
    """Blocks of queries over one gallery, put together in their order."""
    parts = list(blocks)
    sizes = {part.num_gallery for part in parts}
    assert len(sizes) == 1, f"blocks of one gallery expected, got galleries of {sorted(sizes)} items"
    return MatchRanks(
        num_above=np.concatenate([part.num_above for part in parts]),
        num_tied=np.concatenate([part.num_tied for part in parts]),
        num_tied_matches=np.concatenate([part.num_tied_matches for part in parts]),
        num_matches=np.concatenate([part.num_matches for part in parts]),
        num_gallery=sizes.pop(),
    )


def retrieval_table(
    scores: np.ndarray,
    relevant: np.ndarray,
    *,
    groups: Sequence[object] | np.ndarray,
    ks: Sequence[int] = (1, 5, 10),
    samples: int = 1000,
    seed: int = 0,
) -> RetrievalTable:
    """R@k, median and mean rank of the best match, for a score matrix held at once.

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
    recalls = np.stack([recall_at(ranks, k)[matched] for k in ks], axis=1)
    expected = expected_rank(ranks)[matched]
    values = np.column_stack([recalls, expected])
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
        RetrievalRow("mean rank", interval(means[0, -1], means[1:, -1]), _chance_mean(num_matches, ranks))
    )
    return RetrievalTable(int(matched.sum()), int((~matched).sum()), ranks.num_gallery, tuple(rows))


def recall_at(ranks: MatchRanks, k: int) -> np.ndarray:
    """The probability that a match stands among the first k when ties fall at random [Q].

    With `a` items above and `t` tied, `r` of them matches, the first match misses the top k with the
    hypergeometric probability `C(t-m, r) / C(t, r)`, `m = k - a` places being left. NaN without a match.
    """
    places = np.minimum(k - ranks.num_above, ranks.num_tied)
    missed = _probability_missed(ranks.num_tied, ranks.num_tied_matches, places)
    return np.where(ranks.num_matches > 0, 1.0 - missed, np.nan)


def expected_rank(ranks: MatchRanks) -> np.ndarray:
    """The expected rank of the best match, `a + (t+1)/(r+1)`, best is 1 [Q]; NaN without a match."""
    within_ties = (ranks.num_tied + 1) / (ranks.num_tied_matches + 1)
    return np.where(ranks.num_matches > 0, ranks.num_above + within_ties, np.nan)


def _probability_missed(tied: np.ndarray, matches: np.ndarray, places: np.ndarray) -> np.ndarray:
    """`C(t-m, r) / C(t, r)` as the product over the m places of drawing no match."""
    missed = np.ones(len(tied))
    for place in range(int(places.max(initial=0))):
        without = np.maximum(tied - matches - place, 0) / np.maximum(tied - place, 1)
        missed = np.where(place < places, missed * without, missed)
    return missed


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
    missed = _probability_missed(gallery, num_matches, np.minimum(gallery, k))
    return float(1.0 - missed.mean()) if missed.size else float("nan")


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
