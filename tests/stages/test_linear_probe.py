"""The linear probe: its optimum against scikit-learn's, its path, and what it is chosen on."""

import re
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from mmil_cli.stages.linear_probe import (
    PENALTIES,
    Examples,
    FeatureSpace,
    FittedProbe,
    fit_probe,
    log_loss,
    penalty_path,
)


def _noisy(seed: int, *, num: int = 60, informative: bool = True) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, num)
    features = generator.normal(size=(num, 20))
    features[:, 0] += 3 * labels if informative else 0
    return features, labels.astype(float)


def _examples(space: FeatureSpace, films: tuple[np.ndarray, np.ndarray]) -> Examples:
    features, labels = films
    return Examples.labelled(space.coordinates(features), labels, np.arange(len(labels)) // 2)


def _fit(train: tuple, validate: tuple, **changes: object) -> tuple[FeatureSpace, FittedProbe]:
    space = FeatureSpace.of(train[0])
    return space, fit_probe(
        _examples(space, train), _examples(space, validate), variance=space.variance, seed=0
    )


def _ill_conditioned(num: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Features that go together, of scales from 0.01 to 100, one of them constant."""
    generator = np.random.default_rng(3)
    features = generator.normal(size=(num, 5)) @ generator.normal(size=(5, width))
    features += 0.1 * generator.normal(size=(num, width))
    logit = features @ generator.normal(size=width)
    features = features * np.geomspace(0.01, 100, width) + 7
    features[:, -1] = 4.0
    return features, logit


@pytest.mark.parametrize("num", [25, 300])
def test_every_fit_of_the_path_is_the_optimum_of_scikit_learn(num: int) -> None:
    features, logit = _ill_conditioned(num, 40)
    labels = (logit > 1).astype(float)
    space = FeatureSpace.of(features)
    examples = Examples.labelled(space.coordinates(features), labels, np.arange(num))
    standard = (features - space.mean) / space.scale
    for probe in penalty_path(examples, space.variance, PENALTIES, ""):
        reference = LogisticRegression(
            C=1 / (probe.penalty * num), solver="newton-cholesky", tol=1e-12, max_iter=1000
        ).fit(standard, labels)
        assert probe.converged
        np.testing.assert_allclose(
            probe.scores(examples.features), reference.decision_function(standard), rtol=1e-3, atol=1e-3
        )


def test_several_classes_are_the_optimum_of_scikit_learn() -> None:
    features, logit = _ill_conditioned(200, 12)
    index = np.digitize(logit, np.quantile(logit, [0.4, 0.7, 0.9])).astype(float)
    space = FeatureSpace.of(features)
    examples = Examples.labelled(space.coordinates(features), index, np.arange(200), num_classes=4)
    standard = (features - space.mean) / space.scale
    for probe in penalty_path(examples, space.variance, (1.0, 0.01), ""):
        reference = LogisticRegression(
            C=1 / (probe.penalty * 200), solver="newton-cg", tol=1e-10, max_iter=1000
        ).fit(standard, index)
        ours, theirs = probe.scores(examples.features), reference.decision_function(standard)
        np.testing.assert_allclose(
            ours - ours.mean(axis=1, keepdims=True),
            theirs - theirs.mean(axis=1, keepdims=True),
            rtol=1e-3,
            atol=1e-3,
        )


def test_the_penalty_follows_what_the_validation_films_say() -> None:
    _, noise = _fit(_noisy(0, informative=False), _noisy(1, informative=False))
    _, signal = _fit(_noisy(0), _noisy(1))
    assert noise.penalty > signal.penalty
    assert noise.converged
    assert signal.chosen_on == "validate split"


def test_of_the_path_the_lowest_validation_loss_is_taken() -> None:
    train, validate = _noisy(0), _noisy(1)
    space, chosen = _fit(train, validate)
    held_out = _examples(space, validate)
    path = list(penalty_path(_examples(space, train), space.variance, PENALTIES, ""))
    losses = [log_loss(probe.scores(held_out.features), held_out.labels) for probe in path]
    assert chosen.penalty == PENALTIES[int(np.argmin(losses))]
    assert len(set(losses)) == len(PENALTIES)


def test_without_validation_films_the_penalty_comes_from_folds_by_patient() -> None:
    train = _noisy(0)
    space = FeatureSpace.of(train[0])
    examples = _examples(space, train)
    nothing = examples.take(np.empty(0, np.int64))
    one_class = examples.take(np.flatnonzero(examples.labels == 1))
    for validate in (nothing, one_class):
        found = fit_probe(examples, validate, variance=space.variance, seed=0)
        assert found.chosen_on == "folds of the train split"
    single_patient = Examples(examples.features, examples.labels, np.zeros(60))
    found = fit_probe(single_patient, nothing, variance=space.variance, seed=0)
    assert re.match("nothing", found.chosen_on)


def test_the_penalty_does_not_depend_on_the_number_of_films() -> None:
    """Each film twice is the same mean loss, hence the same probe."""
    features, labels = _noisy(0)
    validate = _noisy(1)
    _, once = _fit((features, labels), validate)
    space, doubled = _fit((np.tile(features, (2, 1)), np.tile(labels, 2)), validate)
    held_out = space.coordinates(validate[0])
    np.testing.assert_allclose(once.scores(held_out), doubled.scores(held_out), rtol=1e-3, atol=1e-3)


def test_labelled_examples_leave_out_missing_labels() -> None:
    examples = Examples.labelled(np.eye(3), np.array([1, np.nan, 0]), np.array(["a", "b", "c"]))
    assert examples.labels.tolist() == [1, 0]
    assert examples.groups.tolist() == ["a", "c"]
    assert examples.has_all
    several = Examples.labelled(np.eye(3), np.array([2, -1, 0]), np.arange(3), num_classes=3)
    assert several.labels.tolist() == [2, 0]
    assert not several.has_all
    assert several.counts == "1, 0, 1 of its classes"


def test_features_that_separate_far_too_well_overflow_nothing() -> None:
    generator = np.random.default_rng(0)
    labels = (np.arange(40) % 2).astype(float)
    features = (1e4 * (labels[:, None] - 0.5) + generator.normal(size=(40, 6))).astype(np.float32)
    # every outlier on the wrong side, far out
    _, probe = _fit((features, labels), (1e3 * features[::-1], labels))
    assert probe.penalty == max(PENALTIES)  # the least sure is the least wrong


def test_log_loss_by_hand() -> None:
    labels = np.array([1, 0])
    assert log_loss(np.array([0.0, np.log(3)]), labels) == pytest.approx((np.log(2) + np.log(4)) / 2)
    logits = np.array([[0.0, np.log(2), 0.0], [np.log(2), 0.0, 0.0]])
    assert log_loss(logits, labels) == pytest.approx(np.log(2))


def test_a_fit_has_one_thread_and_gives_the_others_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.extend(threads_of_blas())
        return minimize(*arguments, **options)

    monkeypatch.setattr("mmil_cli.stages.linear_probe.minimize", watched)
    with threadpool_limits(limits=2, user_api="blas"):
        before = threads_of_blas()
        _fit(_noisy(0), _noisy(1))
        assert threads_of_blas() == before == [2] * len(before)
    assert set(seen) == {1}


def threads_of_blas() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
