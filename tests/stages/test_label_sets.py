"""Fewer labels: shares by patient, k-shot by class, and what cannot be drawn."""

import numpy as np
import pytest

from mmil_cli.errors import UsageError
from mmil_cli.stages.label_sets import LEFT_OUT, Budget, ClassLabels, LabelSet, draw, parse_budget


@pytest.fixture
def labels() -> LabelSet:
    """200 training films of 100 patients: a common finding, one with missing labels, one of one class."""
    generator = np.random.default_rng(0)
    train = (generator.random((200, 3)) < [0.5, 0.2, 0.0]).astype(float)
    train[::7, 1] = np.nan
    index = generator.integers(-1, 3, 200)
    return LabelSet(
        names=("common", "rare", "never"),
        train=train,
        validate=train[:40],
        classes=(
            ClassLabels(
                name="grade",
                classes=("0", "1", "2"),
                train=index,
                validate=index[:40],
                scored=index[:10],
                is_ordinal=True,
            ),
        ),
        train_patients=np.arange(200) // 2,
        validate_patients=1000 + np.arange(40) // 2,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1%", Budget(share=0.01)), (" 12.5 % ", Budget(share=0.125)), ("16", Budget(shots=16))],
)
def test_reads_budgets(text: str, expected: Budget) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["0%", "101%", "-1", "0", "1.5", "ten", "k16", ""])
def test_refuses_what_is_no_budget(text: str) -> None:
    with pytest.raises(UsageError, match="no number of labels"):
        parse_budget(text)


def test_names() -> None:
    assert [Budget(share=0.01).name, Budget(share=1.0).name, Budget(shots=4).name] == ["1%", "100%", "4-shot"]


@pytest.mark.parametrize(("share", "patients"), [(0.01, 1), (0.1, 10), (0.5, 50)])
def test_a_share_keeps_all_films_of_that_share_of_the_patients(
    labels: LabelSet, share: float, patients: int
) -> None:
    drawn = draw(labels, Budget(share=share), seed=3)
    kept = ~np.isnan(drawn.train[:, 0])
    assert len(np.unique(labels.train_patients[kept])) == patients
    assert kept.sum() == 2 * patients
    np.testing.assert_array_equal(drawn.train[kept], labels.train[kept])
    assert np.isnan(drawn.train[~kept]).all()
    assert (drawn.classes[0].train[~kept] == LEFT_OUT).all()
    held_out = ~np.isnan(drawn.validate[:, 0])
    assert len(np.unique(labels.validate_patients[held_out])) == max(1, round(share * 20))
    assert drawn.classes[0].scored is labels.classes[0].scored


@pytest.mark.parametrize("budget", [Budget(share=0.3), Budget(shots=5)])
def test_a_draw_follows_from_its_seed(labels: LabelSet, budget: Budget) -> None:
    once, again, other = (draw(labels, budget, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once.train, again.train)
    assert not np.array_equal(once.train, other.train, equal_nan=True)


def test_everything_is_everything(labels: LabelSet) -> None:
    assert draw(labels, Budget(share=1.0), seed=0) is labels


@pytest.mark.parametrize("shots", [1, 4, 16])
def test_k_shot_keeps_k_of_each_class_of_different_patients(labels: LabelSet, shots: int) -> None:
    drawn = draw(labels, Budget(shots=shots), seed=0)
    for place in (0, 1):
        for value in (0, 1):
            rows = np.flatnonzero(drawn.train[:, place] == value)
            assert len(rows) == shots
            assert (labels.train[rows, place] == value).all()
            assert len(np.unique(labels.train_patients[rows])) == shots
    assert np.isnan(drawn.train[:, 2]).all()
    for place in range(3):
        rows = np.flatnonzero(drawn.classes[0].train == place)
        assert len(rows) == shots
        assert (labels.classes[0].train[rows] == place).all()


def test_more_shots_than_there_are_is_one_sentence(labels: LabelSet) -> None:
    found = int((labels.train[:, 1] == 1).sum())
    with pytest.raises(UsageError, match=f"64 positive films of rare .* has {found}; ask for fewer"):
        draw(labels, Budget(shots=64), seed=0)


def test_second_films_of_a_patient_come_after_all_first_ones(labels: LabelSet) -> None:
    """10 patients with 2 positive films each: 10 shots are of 10 patients, 12 need second films."""
    train = np.full((40, 1), 0.0)
    train[:20] = 1.0
    few = LabelSet(names=("a",), train=train, validate=train[:0], classes=(),
                   train_patients=np.arange(40) // 2, validate_patients=np.arange(0))  # fmt: skip
    for shots, patients in ((10, 10), (12, 10)):
        drawn = draw(few, Budget(shots=shots), seed=0)
        assert len(np.unique(few.train_patients[drawn.train[:, 0] == 1])) == patients
        assert (drawn.train[:, 0] == 1).sum() == shots
