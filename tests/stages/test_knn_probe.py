import numpy as np
import pytest

from mmil_cli.stages.knn_probe import (
    NEIGHBOURS,
    TEMPERATURE,
    fit_neighbours,
    neighbour_scores,
    unit_rows,
)
from mmil_cli.stages.linear_probe import log_loss


def _films(seed: int, num: int = 70) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, num)
    features = generator.normal(size=(num, 6)) + 1.5 * labels[:, None]
    return unit_rows(features, mean=np.full(6, 0.75)), labels


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_scores_are_those_of_a_loop(num_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmil_cli.stages.knn_probe.QUERIES_IN_BLOCK", 4)
    (train, _), (queries, _) = _films(0), _films(1, 11)
    labels = np.random.default_rng(2).integers(0, num_classes, len(train))
    found = neighbour_scores(train, labels, num_classes=num_classes, queries=queries, counts=(1, 5))
    for k, scores in found.items():
        for query, score in zip(queries, scores, strict=True):
            similarity = train @ query
            nearest = np.argsort(-similarity)[:k]
            weights = np.exp((similarity[nearest] - similarity.max()) / TEMPERATURE)
            share = [
                (weights[labels[nearest] == c].sum() + (labels == c).mean()) / (weights.sum() + 1)
                for c in range(num_classes)
            ]
            expected = np.log(share[1] / share[0]) if num_classes == 2 else np.log(share)
            np.testing.assert_allclose(score, expected, rtol=1e-4)
            assert np.sum(share) == pytest.approx(1)


def test_k_is_the_one_with_the_lowest_loss_on_the_validation_films() -> None:
    (train, labels), (queries, truth) = _films(0), _films(1)
    found = fit_neighbours(
        train, labels, num_classes=2, validate=queries, validate_labels=truth, queries=queries
    )
    known = tuple(k for k in NEIGHBOURS if k <= len(train))
    scores = neighbour_scores(train, labels, num_classes=2, queries=queries, counts=known)
    losses = {k: log_loss(scores[k], truth) for k in known}
    assert found.chosen_on == "validate split"
    assert losses[found.num_neighbours] == min(losses.values()) < max(losses.values())
    np.testing.assert_array_equal(found.scores, scores[found.num_neighbours])
    assert ((found.scores > 0) == truth).mean() > 0.8


def test_few_films_and_no_validation_films() -> None:
    train, labels = _films(0, 4)
    labels = np.array([0, 1, 0, 1])
    nothing = np.empty((0, 6), np.float32), np.empty(0, np.int64)
    found = fit_neighbours(
        train, labels, num_classes=2, validate=nothing[0], validate_labels=nothing[1], queries=train
    )
    assert found.num_neighbours == 4
    assert found.chosen_on.startswith("nothing")
    assert np.isfinite(found.scores).all()


def test_a_film_of_no_features_is_no_fault() -> None:
    assert np.isfinite(unit_rows(np.zeros((2, 3)), mean=np.zeros(3))).all()
