import numpy as np
import pytest

from mmil_cli.metrics import label_retrieval
from mmil_cli.metrics.label_retrieval import LabelCounter, LabelSide, LabelTable

LABELS = np.array([[1, 0], [1, np.nan], [0, 1], [-1, 1], [1, 0], [0, np.nan]], np.float32)
PATIENTS = np.array([0, 0, 1, 1, 2, 3])
SCORES = np.random.default_rng(0).random((6, 6))


def table(*, blocks: int = 6, names: tuple[str, ...] = ("Edema", "Mass")) -> LabelTable | None:
    side = LabelSide(LABELS, PATIENTS)
    counter = LabelCounter(names, side, side, ks=(1, 2))
    for start in range(0, 6, blocks):
        counter.add(np.arange(start, min(start + blocks, 6)), SCORES[start : start + blocks])
    return counter.table(samples=50)


def slow_precision(query: int, label: int, k: int) -> float:
    """Of the first k items of other patients that are known to have or not to have the finding."""
    gallery = [i for i in range(6) if PATIENTS[i] != PATIENTS[query] and LABELS[i, label] in (0, 1)]
    ranked = sorted(gallery, key=lambda item: -SCORES[query, item])
    return float(np.mean([LABELS[item, label] == 1 for item in ranked[:k]]))


def test_figures_are_those_of_a_slow_loop() -> None:
    found = table()
    assert found is not None
    edema, mass = found.findings
    for k in (1, 2):
        values = [slow_precision(query, 0, k) for query in (0, 1, 4)]
        assert edema.figures[f"P@{k}"].measured.value == pytest.approx(np.mean(values))
    assert (edema.num_queries, edema.num_gallery, edema.num_positive) == (3, 5, 3)
    assert mass.figures["P@1"].measured.value == pytest.approx(
        np.mean([slow_precision(query, 1, 1) for query in (2, 3)])
    )
    # of films 0, 1: two of the gallery's [2: 0, 4: 1, 5: 0] ; of film 4: [0: 1, 1: 1, 2: 0, 5: 0]
    assert edema.figures["P@1"].chance == pytest.approx(np.mean([1 / 3, 1 / 3, 1 / 2]))
    assert found.mean.figures["P@1"].measured.value == pytest.approx(
        (edema.figures["P@1"].measured.value + mass.figures["P@1"].measured.value) / 2
    )


def test_blocks_change_nothing() -> None:
    assert repr(table(blocks=4)) == repr(table())


def test_without_a_positive_there_is_no_table() -> None:
    side = LabelSide(np.zeros((6, 1), np.float32), PATIENTS)
    counter = LabelCounter(("Never",), side, side, ks=(1,))
    counter.add(np.arange(6), SCORES)
    assert counter.table() is None


def test_of_many_queries_an_even_part_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_retrieval, "MOST_QUERIES", 3)
    labels = np.ones((10, 1), np.float32)
    labels[7] = 0
    side = LabelSide(labels, np.arange(10))
    counter = LabelCounter(("Edema",), side, side, ks=(1,))
    for start in (0, 4, 8):
        rows = np.arange(start, min(start + 4, 10))
        counter.add(rows, np.random.default_rng(0).random((len(rows), 10)))
    assert counter.cases()["Edema"].queries.tolist() == [0, 3, 6]
    assert side.labels.sum() == 9
