import itertools

import numpy as np
import pytest

from mmil_cli.errors import DataError
from mmil_cli.metrics.ranks import expected_rank, join_ranks, match_ranks, recall_at
from mmil_cli.metrics.retrieval import (
    RetrievalRow,
    RetrievalTable,
    rank_table,
    retrieval_table,
)


def row(table: RetrievalTable, name: str) -> RetrievalRow:
    return next(row for row in table.rows if row.name == name)


def tied_input(seed: int, queries: int = 12, gallery: int = 7) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    scores = np.floor(generator.random((queries, gallery)) * 3)
    relevant = generator.random((queries, gallery)) < 0.3
    relevant[:, 0] |= ~relevant.any(axis=1)
    return scores, relevant


def slow_ranks(scores: np.ndarray, relevant: np.ndarray) -> list[int]:
    """The rank of the first match in every order of the gallery that the scores allow."""
    orders = (order for order in itertools.permutations(range(len(scores))))
    allowed = (o for o in orders if all(scores[a] >= scores[b] for a, b in itertools.pairwise(o)))
    return [next(i for i, item in enumerate(order, start=1) if relevant[item]) for order in allowed]


@pytest.mark.parametrize("seed", range(4))
def test_ties_equal_the_mean_over_every_allowed_order(seed: int) -> None:
    scores, relevant = tied_input(seed, queries=5, gallery=6)
    ranks = match_ranks(scores, relevant)
    for query in range(len(scores)):
        slow = np.array(slow_ranks(scores[query], relevant[query]))
        assert expected_rank(ranks)[query] == pytest.approx(slow.mean())
        for k in (1, 2, 5, 9):
            assert recall_at(ranks, k)[query] == pytest.approx((slow <= k).mean())


def test_hand_worked_case() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.2, 0.2, 0.1]])
    relevant = np.array([[1, 0, 0], [0, 1, 1], [1, 0, 0]], dtype=bool)
    ranks = match_ranks(scores, relevant)
    assert expected_rank(ranks).tolist() == [1.0, 2.0, 1.5]
    table = retrieval_table(scores, relevant, groups=[0, 1, 2], ks=(1, 2))
    assert row(table, "R@1").measured.value == pytest.approx((1 + 0 + 0.5) / 3)
    assert row(table, "R@2").measured.value == pytest.approx(1.0)
    assert row(table, "median rank").measured.value == pytest.approx(1.5)
    assert row(table, "mean rank").measured.value == pytest.approx(1.5)
    assert row(table, "R@1").chance == pytest.approx((1 / 3 + 2 / 3 + 1 / 3) / 3)
    assert (table.num_queries, table.num_gallery, table.num_without_match) == (3, 3, 0)


def test_negative_scores_are_ranked_like_any_other() -> None:
    scores, relevant = tied_input(0)
    assert rank_table(match_ranks(scores - 100, relevant), groups=np.arange(12)) == retrieval_table(
        scores, relevant, groups=np.arange(12)
    )


def test_constant_scores_give_chance() -> None:
    _, relevant = tied_input(1)
    table = retrieval_table(np.zeros(relevant.shape), relevant, groups=np.arange(12), ks=(1, 3, 50))
    for name in ("R@1", "R@3", "R@50", "mean rank"):
        assert row(table, name).measured.value == pytest.approx(row(table, name).chance)
    assert row(table, "R@50").chance == 1.0


def test_chance_equals_random_orders() -> None:
    generator = np.random.default_rng(0)
    _, relevant = tied_input(2, queries=6, gallery=11)
    repeated = np.tile(relevant, (4000, 1))
    table = retrieval_table(
        generator.random(repeated.shape), repeated, groups=np.zeros(len(repeated)), ks=(1, 4), samples=2
    )
    for result in table.rows[:2]:
        assert result.measured.value == pytest.approx(result.chance, abs=0.02)
    assert row(table, "mean rank").measured.value == pytest.approx(row(table, "mean rank").chance, abs=0.1)
    assert row(table, "median rank").measured.value == row(table, "median rank").chance


@pytest.mark.parametrize("gallery", [9, 10])
def test_chance_median_of_a_single_match_is_the_middle(gallery: int) -> None:
    table = retrieval_table(np.zeros((gallery, gallery)), np.eye(gallery, dtype=bool), groups=range(gallery))
    assert row(table, "median rank").chance == (gallery + 1) / 2
    assert row(table, "median rank").measured.value == (gallery + 1) / 2


def test_median_intervals_equal_the_slow_bootstrap() -> None:
    from mmil_cli.metrics.intervals import interval, patient_weights

    scores, relevant = tied_input(3, queries=21)
    groups = np.arange(21) // 2
    values = expected_rank(match_ranks(scores, relevant))
    weights = patient_weights(groups, samples=60, seed=4)
    slow = np.array([np.median(np.repeat(values, weight)) for weight in weights])
    table = retrieval_table(scores, relevant, groups=groups, samples=60, seed=4)
    assert row(table, "median rank").measured == interval(float(np.median(values)), slow)


def test_intervals_resample_groups() -> None:
    scores, relevant = tied_input(5, queries=40)
    alone = retrieval_table(scores, relevant, groups=np.arange(40))
    together = retrieval_table(scores, relevant, groups=np.zeros(40))
    measured = row(alone, "R@1").measured
    assert measured.low < measured.value < measured.high
    one_patient = row(together, "R@1").measured
    assert one_patient.low == pytest.approx(one_patient.high)


def test_blocks_of_queries_equal_the_whole() -> None:
    scores, relevant = tied_input(6)
    blocks = [match_ranks(scores[rows], relevant[rows]) for rows in (slice(0, 5), slice(5, 6), slice(6, 12))]
    joined = rank_table(join_ranks(blocks), groups=np.arange(12), seed=3)
    assert joined == retrieval_table(scores, relevant, groups=np.arange(12), seed=3)


def test_queries_without_a_match_are_left_out_and_counted() -> None:
    scores, relevant = tied_input(7)
    relevant[[2, 9]] = False
    keep = relevant.any(axis=1)
    table = retrieval_table(scores, relevant, groups=np.arange(12))
    kept = retrieval_table(scores[keep], relevant[keep], groups=np.arange(12)[keep])
    assert (table.num_queries, table.num_without_match) == (10, 2)
    assert table.rows == kept.rows
    assert np.isnan(recall_at(match_ranks(scores, relevant), 1)[2])


def test_no_match_at_all_is_undefined_not_zero() -> None:
    table = retrieval_table(np.zeros((3, 4)), np.zeros((3, 4), dtype=bool), groups=[0, 1, 2])
    assert table.num_queries == 0
    assert all(np.isnan(r.measured.value) and np.isnan(r.chance) for r in table.rows)


def test_an_excluded_item_never_ranks_above() -> None:
    ranks = match_ranks(np.array([[-np.inf, 0.2, 0.1]]), np.array([[False, False, True]]))
    assert expected_rank(ranks).tolist() == [2.0]


def test_refuses_nan_scores() -> None:
    with pytest.raises(DataError, match="1 of 2 retrieval scores are NaN"):
        match_ranks(np.array([[np.nan, 1.0]]), np.array([[True, False]]))
