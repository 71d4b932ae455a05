from dataclasses import fields

import numpy as np
import pytest

from mmil_cli.errors import DataError
from mmil_cli.metrics import ranks as module
from mmil_cli.metrics.matching import Matcher
from mmil_cli.metrics.ranks import MatchRanks, match_ranks, vector_ranks

KEYS = np.random.default_rng(3).integers(0, 9, (4, 60))


def tied_vectors(seed: int, number: int) -> np.ndarray:
    """Small whole numbers: their products are exact, and many are equal."""
    return np.random.default_rng(seed).integers(-2, 3, (number, 5)).astype(np.float32)


def assert_equal(found: MatchRanks, wanted: MatchRanks) -> None:
    for field in fields(MatchRanks):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(wanted, field.name), field.name)


@pytest.mark.parametrize("held", [1, 37, 200, 10**6])
def test_blocks_of_any_size_equal_the_dense_reference_with_ties(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_SCORES", held)
    queries, gallery = tied_vectors(0, 47), tied_vectors(1, 60)
    ways = [(KEYS[0][:47], KEYS[1]), (KEYS[2][:47], KEYS[3])]
    relevant = (ways[0][0][:, None] == ways[0][1]) | (ways[1][0][:, None] == ways[1][1])
    dense = match_ranks(queries @ gallery.T, relevant)
    assert dense.num_tied.max() > 2
    assert_equal(vector_ranks(queries, gallery, Matcher(ways)), dense)


def test_a_query_is_not_in_its_own_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_SCORES", 60 * 7)
    vectors, keys = tied_vectors(2, 60), KEYS[0]
    found = vector_ranks(vectors, vectors, Matcher([(keys, keys)], itself=np.arange(60)))
    for query in range(60):
        others = np.delete(np.arange(60), query)
        scores, relevant = (vectors[query] @ vectors[others].T)[None], (keys[others] == keys[query])[None]
        alone = match_ranks(scores, relevant)
        for field in fields(MatchRanks):
            value = getattr(found, field.name)
            one = value if field.name == "num_gallery" else value[query : query + 1]
            np.testing.assert_array_equal(one, getattr(alone, field.name))


def test_pairs_are_those_of_a_slow_loop_and_none_twice() -> None:
    ways = [(KEYS[0], KEYS[1]), (KEYS[2], KEYS[3])]
    pairs = Matcher(ways, itself=np.arange(60)).of(slice(10, 25))
    slow = [
        (q - 10, g)
        for q in range(10, 25)
        for g in range(60)
        if q != g and any(asked[q] == found[g] for asked, found in ways)
    ]
    assert list(zip(pairs.queries.tolist(), pairs.items.tolist(), strict=True)) == slow


def test_a_query_without_a_match_has_none() -> None:
    found = vector_ranks(
        tied_vectors(0, 3), tied_vectors(1, 4), Matcher([(np.array([1, 2, 9]), np.array([1, 1, 2, 3]))])
    )
    assert found.num_matches.tolist() == [2, 1, 0]
    assert (found.num_above[2], found.num_tied[2], found.num_tied_matches[2]) == (0, 0, 0)
    assert np.isnan(found.average_precision[2])


def test_a_score_that_is_no_number_is_refused() -> None:
    vectors = tied_vectors(0, 4)
    vectors[2, 1] = np.nan
    with pytest.raises(DataError, match="4 of 16 retrieval scores are NaN"):
        vector_ranks(vectors, tied_vectors(1, 4), Matcher([(np.arange(4), np.arange(4))]))
