"""Where the matches of a query stand in its gallery, exactly, however large it is; ties at expected rank."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from mmil_cli.errors import DataError
from mmil_cli.metrics.average_precision import average_precision, expected_gain
from mmil_cli.metrics.matching import Matcher, Pairs

BLOCK_SCORES = 2**24
"""Scores of queries with the whole gallery that are held at once, 64 MB; at least one query's."""

AVERAGE_PRECISION, RANK = "AP", "rank"


@dataclass(frozen=True)
class MatchRanks:
    """Where the matches of each query stand [Q], all that the metrics need of a score matrix.

    `num_above` items score higher than the best match; `num_tied` score the same, itself included, and
    `num_tied_matches` of those are matches. `average_precision` is expected over the order of ties. A query
    without any match has zeros, and NaN for its average precision.
    """

    num_above: np.ndarray
    num_tied: np.ndarray
    num_tied_matches: np.ndarray
    num_matches: np.ndarray
    average_precision: np.ndarray
    num_gallery: int


def match_ranks(scores: np.ndarray, relevant: np.ndarray) -> MatchRanks:
    """Where the best match of each query stands; call it on blocks of queries to save memory.

    Args:
        scores: Higher is better [Q, G].
        relevant: True where the gallery item is a match of the query [Q, G].

    Raises:
        DataError: A score is NaN.
    """
    return ranks_of(scores, Pairs(*np.nonzero(relevant)))


def ranks_of(scores: np.ndarray, pairs: Pairs, *, itself: np.ndarray | None = None) -> MatchRanks:
    """As `match_ranks`, with the matches as pairs.

    Args:
        scores: Higher is better [Q, G]; changed where `itself` is given.
        pairs: The matches.
        itself: The item of each query that is not in its gallery [Q]; its score counts for nothing.

    Raises:
        DataError: A score is NaN.
    """
    num_queries, num_gallery = scores.shape
    if np.isnan(scores.sum()) and np.isnan(scores).any():
        raise DataError(f"{int(np.isnan(scores).sum())} of {scores.size} retrieval scores are NaN.")
    if itself is not None:
        scores[np.arange(num_queries), itself] = -np.inf
    matching = scores[pairs.queries, pairs.items]
    num_matches = np.bincount(pairs.queries, minlength=num_queries)
    matched = num_matches > 0
    best = np.full(num_queries, np.inf, scores.dtype)  # of no match: nothing is above, nothing ties
    if matching.size:
        best[matched] = np.maximum.reduceat(matching, (np.cumsum(num_matches) - num_matches)[matched])
    is_best = matching == best[pairs.queries]
    above, reached = _counts(scores, best)
    ranks = MatchRanks(
        num_above=above,
        num_tied=reached - above,
        num_tied_matches=np.bincount(pairs.queries[is_best], minlength=num_queries),
        num_matches=num_matches,
        average_precision=np.full(num_queries, np.nan),
        num_gallery=num_gallery - (itself is not None),
    )
    ranks.average_precision[:] = _average_precisions(ranks, scores, matching)
    return ranks


def _counts(scores: np.ndarray, best: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of each query's scores lie above its best match, and how many reach it.

    Row by row: numpy counts a row of truth values many times faster than along an axis.
    """
    above = np.fromiter(
        (np.count_nonzero(row > top) for row, top in zip(scores, best, strict=True)), np.int64
    )
    reached = np.fromiter(
        (np.count_nonzero(row >= top) for row, top in zip(scores, best, strict=True)), np.int64
    )
    return above, reached


def _average_precisions(ranks: MatchRanks, scores: np.ndarray, matching: np.ndarray) -> np.ndarray:
    """In closed form where all matches of a query tie, as a single one does; else from its sorted scores."""
    matched = ranks.num_matches > 0
    values = np.full(len(scores), np.nan)
    gain = expected_gain(
        ranks.num_above, np.maximum(ranks.num_tied, 1), ranks.num_tied_matches, np.zeros_like(ranks.num_above)
    )
    values[matched] = gain[matched] / ranks.num_matches[matched]
    ends = np.cumsum(ranks.num_matches)
    for query in np.flatnonzero(ranks.num_matches > ranks.num_tied_matches):
        own = matching[ends[query] - ranks.num_matches[query] : ends[query]]
        values[query] = average_precision(scores[query], own)
    return values


def vector_ranks(queries: np.ndarray, gallery: np.ndarray, matcher: Matcher) -> MatchRanks:
    """Where the matches stand when the score is an inner product of vectors; exact, flat in memory.

    The matrix of scores is made a block of queries at a time, against the whole gallery, so that no rank
    rests on two differently rounded products.

    Args:
        queries: [Q, D].
        gallery: [G, D].
        matcher: knows the matches.

    Raises:
        DataError: A score is NaN.
    """
    others = np.ascontiguousarray(gallery.T)
    ranks = []
    for block in query_blocks(len(queries), len(gallery)):
        itself = None if matcher.itself is None else matcher.itself[block]
        ranks.append(ranks_of(queries[block] @ others, matcher.of(block), itself=itself))
    return join_ranks(ranks)


def query_blocks(num_queries: int, num_gallery: int) -> Iterator[slice]:
    """Slices of queries whose scores with the gallery may be held at once."""
    step = max(1, BLOCK_SCORES // max(1, num_gallery))
    for start in range(0, num_queries, step):
        yield slice(start, min(start + step, num_queries))


def join_ranks(blocks: Iterable[MatchRanks]) -> MatchRanks:
    """Blocks of queries over one gallery, put together in their order."""
    parts = list(blocks)
    sizes = {part.num_gallery for part in parts}
    assert len(sizes) == 1, f"blocks of one gallery expected, got galleries of {sorted(sizes)} items"
    names = [field.name for field in fields(MatchRanks) if field.name != "num_gallery"]
    return MatchRanks(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
        num_gallery=sizes.pop(),
    )


def query_figures(ranks: MatchRanks, *, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """R@k for each k, `rank` of the best match and `AP` of each query [Q]; NaN without a match."""
    return {
        **{f"R@{k}": recall_at(ranks, k) for k in ks},
        RANK: expected_rank(ranks),
        AVERAGE_PRECISION: ranks.average_precision,
    }


def recall_at(ranks: MatchRanks, k: int) -> np.ndarray:
    """The probability that a match stands among the first k when ties fall at random [Q].

    With `a` items above and `t` tied, `r` of them matches, the first match misses the top k with the
    hypergeometric probability `C(t-m, r) / C(t, r)`, `m = k - a` places being left. NaN without a match.
    """
    places = np.minimum(k - ranks.num_above, ranks.num_tied)
    missed = probability_missed(ranks.num_tied, ranks.num_tied_matches, places)
    return np.where(ranks.num_matches > 0, 1.0 - missed, np.nan)


def expected_rank(ranks: MatchRanks) -> np.ndarray:
    """The expected rank of the best match, `a + (t+1)/(r+1)`, best is 1 [Q]; NaN without a match."""
    within_ties = (ranks.num_tied + 1) / (ranks.num_tied_matches + 1)
    return np.where(ranks.num_matches > 0, ranks.num_above + within_ties, np.nan)


def probability_missed(tied: np.ndarray, matches: np.ndarray, places: np.ndarray) -> np.ndarray:
    """`C(t-m, r) / C(t, r)` as the product over the m places of drawing no match."""
    missed = np.ones(len(tied))
    for place in range(int(places.max(initial=0))):
        without = np.maximum(tied - matches - place, 0) / np.maximum(tied - place, 1)
        missed = np.where(place < places, missed * without, missed)
    return missed
