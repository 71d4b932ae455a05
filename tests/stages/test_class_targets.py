"""Grades from thresholds, films of exactly one finding, and their AUROCs by hand and by scikit-learn."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from mmil_cli.errors import UsageError
from mmil_cli.metrics.intervals import patient_weights
from mmil_cli.metrics.several_classes import class_table
from mmil_cli.stages.class_targets import grades_of, one_of

NAN = np.nan
NAMES = ("severity >= 2", "Edema", "severity >= 1", "severity >= 3", "alone >= 1", "gap >= 1", "gap >= 3")


def test_grades_come_from_thresholds_in_any_order() -> None:
    labels = np.array(
        #   >=2  Edema >=1   >=3
        [
            [0.0, 1, 0, 0, 1, 1, 1],
            [0.0, 1, 1, 0, 1, 1, 1],
            [1.0, 0, 1, 0, 1, 1, 1],
            [1.0, 0, 1, 1, 1, 1, 1],
            [NAN, 0, 1, 0, 1, 1, 1],  # missing
            [1.0, 0, 0, 0, 1, 1, 1],  # at least 2, but not 1
        ]
    )
    (target,) = grades_of(NAMES, labels)
    assert (target.name, target.classes, target.is_ordinal) == ("severity", ("0", "1", "2", "3"), True)
    assert target.index.tolist() == [0, 1, 2, 3, -1, -1]


def test_films_of_one_finding_alone_as_in_5x200() -> None:
    raw = np.array([[1, 0, NAN], [0, 1, 0], [1, 1, 0], [1, -1, 0], [0, 0, -1], [NAN, NAN, 1], [0, 0, 0]])
    target = one_of(("a", "b", "c"), raw)
    assert target.index.tolist() == [0, 1, -1, -1, -1, 2, -1]
    with pytest.raises(UsageError, match="told apart by two or more"):
        one_of(("a",), raw[:, :1])
    with pytest.raises(UsageError, match="no film has b"):
        one_of(("a", "b"), np.array([[1.0, 0], [1, 1]]))


def test_the_comparisons_of_edema_severity_equal_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    index = generator.integers(-1, 4, 200)
    logits = generator.normal(size=(200, 4)) + np.abs(np.arange(4) - index[:, None]) * -0.4
    found = class_table(
        index, logits, classes=tuple("0123"), is_ordinal=True, groups=np.arange(200) // 2, samples=40
    )
    assert [row.name for row in found.rows] == [
        "0 v 123", "01 v 23", "012 v 3", "0 v 1", "0 v 2", "0 v 3", "1 v 2", "1 v 3", "2 v 3"
    ]  # fmt: skip
    known = index >= 0
    shares = softmax(logits[known], axis=1)
    levels = index[known]
    cuts = [roc_auc_score(levels >= cut, shares[:, cut:].sum(axis=1)) for cut in (1, 2, 3)]
    assert [row.auroc.value for row in found.rows[:3]] == pytest.approx(cuts, abs=1e-12)
    assert found.mean.value == pytest.approx(np.mean(cuts))
    for row in found.rows[3:]:
        low, high = int(row.name[0]), int(row.name[-1])
        rows = (levels == low) | (levels == high)
        pair = shares[rows, high] / (shares[rows, low] + shares[rows, high])
        assert row.auroc.value == pytest.approx(roc_auc_score(levels[rows] == high, pair), abs=1e-12)
        assert (row.num_low, row.num_high) == ((levels == low).sum(), (levels == high).sum())
    assert found.accuracy.value == pytest.approx((shares.argmax(axis=1) == levels).mean())
    assert found.chance_accuracy == pytest.approx(np.bincount(levels).max() / len(levels))
    assert found.num_films == known.sum()
    draws = [
        roc_auc_score(index[known] >= 1, shares[:, 1:].sum(axis=1), sample_weight=weights[known])
        for weights in patient_weights(np.arange(200) // 2, samples=40, seed=0)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (found.rows[0].auroc.low, found.rows[0].auroc.high) == pytest.approx((low, high), abs=1e-12)


def test_classes_without_order_are_told_from_the_rest() -> None:
    generator = np.random.default_rng(1)
    index = generator.integers(0, 3, 90)
    logits = generator.normal(size=(90, 3)) + np.eye(3)[index]
    found = class_table(
        index, logits, classes=("a", "b", "c"), is_ordinal=False, groups=np.arange(90), samples=10
    )
    expected = roc_auc_score(index, softmax(logits, axis=1), multi_class="ovr", average=None)
    assert [row.name for row in found.rows] == ["a", "b", "c"]
    assert [row.auroc.value for row in found.rows] == pytest.approx(list(expected), abs=1e-12)


def test_a_grade_that_no_film_has_is_nan() -> None:
    found = class_table(
        np.array([0, 1, 0, 1]), np.eye(4, 3), classes=tuple("012"), is_ordinal=True, groups=np.arange(4),
        samples=5,
    )  # fmt: skip
    assert np.isnan({row.name: row.auroc.value for row in found.rows}["01 v 2"])
    assert found.mean.value == found.rows[0].auroc.value
