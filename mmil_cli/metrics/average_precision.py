"""Average precision and precision at k of rankings, at their expected value over the order of ties."""

from collections.abc import Sequence

import numpy as np


def expected_gain(
    above: np.ndarray, tied: np.ndarray, matches: np.ndarray, matches_above: np.ndarray
) -> np.ndarray:
    """What groups of tied items add to the sum of precisions, all orders within a group equally likely.

    Of a group of t items below a others, r of them matches, with R matches above, place k = 1..t holds a
    match with probability r/t, and then R + 1 + (k-1)(r-1)/(t-1) matches stand so high: the gain is
    `(r/t) [ (R+1) D + (r-1)/(t-1) (t - (a+1) D) ]`, `D = sum_k 1/(a+k)`. Without ties it is (R+1)/(a+1).
    The expectation is that of McSherry and Najork 2008; the closed form ours.

    Args:
        above: a of each group.
        tied: t of each group, at least 1.
        matches: r of each group.
        matches_above: R of each group.
    """
    harmonic = _harmonic(int((above + tied).max(initial=0)))
    spread = harmonic[above + tied] - harmonic[above]
    pairs = (matches - 1) / np.maximum(tied - 1, 1) * (tied - (above + 1) * spread)
    return matches / tied * ((matches_above + 1) * spread + pairs)


def chance_average_precision(num_matches: np.ndarray, num_gallery: np.ndarray) -> np.ndarray:
    """Expected average precision of a random order: all items are one tie; NaN without a match."""
    num_matches, num_gallery = np.asarray(num_matches, np.int64), np.asarray(num_gallery, np.int64)
    nothing = np.zeros_like(num_matches)
    gain = expected_gain(nothing, np.maximum(num_gallery, 1), num_matches, nothing)
    return np.where(num_matches > 0, gain / np.maximum(num_matches, 1), np.nan)


def average_precision(scores: np.ndarray, matching: np.ndarray) -> float:
    """Expected average precision of one query, at the depth of the whole gallery.

    Args:
        scores: of the gallery [G], higher is better.
        matching: scores of the matches among them [M], at least one.
    """
    ordered, values = np.sort(scores), np.unique(matching)[::-1]
    inside = np.sort(matching)
    not_above = np.searchsorted(ordered, values, side="right")
    tied = not_above - np.searchsorted(ordered, values, side="left")
    matches_not_above = np.searchsorted(inside, values, side="right")
    matches = matches_not_above - np.searchsorted(inside, values, side="left")
    gains = expected_gain(len(ordered) - not_above, tied, matches, len(inside) - matches_not_above)
    return float(gains.sum() / len(inside))


def precision_figures(scores: np.ndarray, positive: np.ndarray, *, ks: Sequence[int]) -> np.ndarray:
    """Expected P@k for each k, and average precision, of each query [Q, len(ks) + 1].

    NaN: P@k where the gallery has fewer than k items, average precision where it has no positive one.

    Args:
        scores: [Q, G]; -inf takes an item out of the query's gallery.
        positive: what counts as found [G].
        ks: the k of P@k.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    figures = np.full((len(scores), len(ks) + 1), np.nan)
    for query, places in enumerate(order):
        ranked = scores[query, places]
        size = int(np.count_nonzero(ranked > -np.inf))
        if size:
            figures[query] = _of_query(ranked[:size], positive[places[:size]], ks)
    return figures


def _of_query(ranked: np.ndarray, hits: np.ndarray, ks: Sequence[int]) -> list[float]:
    above = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))  # a of each group of ties
    tied = np.diff(np.append(above, len(ranked)))
    matches = np.add.reduceat(hits.astype(np.int64), above)
    found = [
        float((matches * np.clip((k - above) / tied, 0, 1)).sum() / k) if k <= len(ranked) else np.nan
        for k in ks
    ]
    total = int(matches.sum())
    gain = expected_gain(above, tied, matches, np.cumsum(matches) - matches).sum()
    return [*found, float(gain / total) if total else np.nan]


def _harmonic(size: int) -> np.ndarray:
    """H_0 .. H_size."""
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, size + 1))])
