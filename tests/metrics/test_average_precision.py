import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mmil_cli.metrics.average_precision import (
    average_precision,
    chance_average_precision,
    precision_figures,
)


def allowed_orders(scores: np.ndarray) -> list[tuple[int, ...]]:
    orders = itertools.permutations(range(len(scores)))
    return [o for o in orders if all(scores[a] >= scores[b] for a, b in itertools.pairwise(o))]


def slow_precision(hits: list[bool]) -> float:
    """The mean over matches of the precision at their places."""
    return float(np.mean([sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]))


@pytest.mark.parametrize("seed", range(6))
def test_ties_equal_the_mean_over_every_allowed_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = np.floor(generator.random(7) * 3)
    positive = generator.random(7) < 0.5
    positive[seed] = True
    orders = [[bool(positive[item]) for item in order] for order in allowed_orders(scores)]
    expected = np.mean([slow_precision(hits) for hits in orders])
    assert average_precision(scores, scores[positive]) == pytest.approx(expected)
    figures = precision_figures(scores[None], positive, ks=(1, 3, 7, 8))[0]
    for k, found in zip((1, 3, 7), figures, strict=False):
        assert found == pytest.approx(np.mean([sum(hits[:k]) / k for hits in orders]))
    assert np.isnan(figures[3])
    assert figures[4] == pytest.approx(expected)


def test_without_ties_it_is_the_known_one() -> None:
    generator = np.random.default_rng(0)
    scores, positive = generator.random((20, 50)), generator.random(50) < 0.2
    figures = precision_figures(scores, positive, ks=(5,))
    for row, (_, found) in zip(scores, figures, strict=True):
        assert found == pytest.approx(average_precision_score(positive, row))
        assert found == pytest.approx(average_precision(row, row[positive]))


def test_items_outside_the_gallery_count_for_nothing() -> None:
    scores = np.array([[3.0, -np.inf, 2.0, 1.0]])
    positive = np.array([False, True, True, False])
    assert precision_figures(scores, positive, ks=(2, 3, 4))[0].tolist()[:2] == [0.5, pytest.approx(1 / 3)]
    assert np.isnan(precision_figures(scores, positive, ks=(4,))[0, 0])
    assert precision_figures(scores, positive, ks=())[0, 0] == 0.5


def test_nothing_to_find_is_undefined() -> None:
    figures = precision_figures(np.array([[1.0, 2.0], [-np.inf, -np.inf]]), np.zeros(2, bool), ks=(1,))
    assert figures[0, 0] == 0
    assert np.isnan(figures[0, 1])
    assert np.isnan(figures[1]).all()


@pytest.mark.parametrize(("matches", "gallery"), [(1, 6), (2, 6), (5, 6), (6, 6)])
def test_chance_is_the_mean_over_all_orders(matches: int, gallery: int) -> None:
    orders = itertools.permutations([i < matches for i in range(gallery)])
    expected = np.mean([slow_precision(list(hits)) for hits in orders])
    assert chance_average_precision(np.array([matches]), np.array([gallery]))[0] == pytest.approx(expected)


def test_chance_without_a_match_is_undefined() -> None:
    assert np.isnan(chance_average_precision(np.array([0]), np.array([4])))
