import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mmil_cli.errors import DataError
from mmil_cli.metrics import intervals
from mmil_cli.metrics.classification import auprc, auroc, classification_table
from mmil_cli.metrics.intervals import patient_weights

NAN = float("nan")


def sample(seed: int, rows: int = 80, levels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes and scores with many ties."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(rows) < 0.3).astype(float)
    labels[:2] = [0.0, 1.0]
    scores = np.floor(generator.random(rows) * levels + labels) / levels
    return labels, scores


def test_hand_worked_case() -> None:
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    scores = np.array([0.9, 0.8, 0.8, 0.1])
    assert auroc(labels, scores) == pytest.approx(3.5 / 4)
    assert auprc(labels, scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize("seed", range(8))
def test_equals_sklearn_with_ties(seed: int) -> None:
    labels, scores = sample(seed)
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert auprc(labels, scores) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("levels", [3, 10_000_000])
def test_every_resample_equals_sklearn_with_its_weights(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, scores = sample(11, levels=levels)
    weights = patient_weights(np.arange(len(labels)) // 3, samples=25, seed=0)
    monkeypatch.setattr(intervals, "_BLOCK_ELEMENTS", 4 * len(labels))
    rocs, precisions = auroc(labels, scores, weights), auprc(labels, scores, weights)
    for row, roc, precision in zip(weights, rocs, precisions, strict=True):
        assert roc == pytest.approx(roc_auc_score(labels, scores, sample_weight=row), abs=1e-12)
        expected = average_precision_score(labels, scores, sample_weight=row)
        assert precision == pytest.approx(expected, abs=1e-12)


def test_real_valued_weights_equal_sklearn() -> None:
    labels, scores = sample(4)
    weights = np.random.default_rng(0).random(len(labels))
    assert float(auroc(labels, scores, weights)) == pytest.approx(
        roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12
    )


def test_auroc_equals_the_slow_count_of_pairs() -> None:
    labels, scores = sample(2, rows=30)
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels == 1] for n in scores[labels == 0]]
    assert auroc(labels, scores) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_properties_of_the_ranking() -> None:
    labels, scores = sample(5)
    order = np.random.default_rng(0).permutation(len(labels))
    for metric in (auroc, auprc):
        assert metric(labels[order], scores[order]) == pytest.approx(metric(labels, scores), abs=1e-12)
        assert metric(labels, np.exp(3 * scores)) == pytest.approx(metric(labels, scores), abs=1e-12)
        assert metric(labels, labels) == 1.0
    assert auroc(labels, -scores) == pytest.approx(1 - auroc(labels, scores), abs=1e-12)
    constant = np.zeros(len(labels))
    assert auroc(labels, constant) == pytest.approx(0.5)
    assert auprc(labels, constant) == pytest.approx(labels.mean())


def test_missing_labels_are_dropped_whatever_their_score() -> None:
    labels, scores = sample(6)
    more_labels = np.concatenate([labels, [NAN, NAN]])
    more_scores = np.concatenate([scores, [100.0, NAN]])
    assert auroc(more_labels, more_scores) == auroc(labels, scores)
    weights = patient_weights(np.arange(82), samples=3, seed=0)
    assert auprc(more_labels, more_scores, weights) == pytest.approx(
        auprc(labels, scores, weights[:, :80]), abs=1e-12
    )


@pytest.mark.parametrize("labels", [[1.0, 1.0], [0.0, NAN], [NAN, NAN]])
def test_one_class_is_undefined(labels: list[float]) -> None:
    assert np.isnan(auroc(np.array(labels), np.array([0.1, 0.2])))
    assert np.isnan(auprc(np.array(labels), np.array([0.1, 0.2]), np.ones((3, 2)))).all()


def test_refuses_uncertain_labels_and_nan_scores() -> None:
    with pytest.raises(DataError, match=r"label is -1.*uncertain"):
        auroc(np.array([1.0, -1.0]), np.array([0.1, 0.2]))
    with pytest.raises(DataError, match="1 of 2 scores are NaN"):
        auroc(np.array([1.0, 0.0]), np.array([0.1, NAN]))


def table_input(rows: int = 300, findings: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    generator = np.random.default_rng(7)
    labels = (generator.random((rows, findings)) < 0.25).astype(float)
    scores = generator.normal(size=labels.shape) + labels
    labels[generator.random(labels.shape) < 0.1] = NAN
    return labels, scores, np.arange(rows) // 2, [f"finding {i}" for i in range(findings)]


def test_table_rows_and_mean() -> None:
    labels, scores, groups, names = table_input()
    table = classification_table(labels, scores, groups=groups, names=names, samples=200)
    assert [row.name for row in table.rows] == names
    first = table.rows[0]
    known = ~np.isnan(labels[:, 0])
    assert first.num_positive + first.num_negative == known.sum()
    assert first.prevalence == pytest.approx(labels[known, 0].mean())
    assert first.auroc.value == auroc(labels[:, 0], scores[:, 0])
    assert first.auroc.low < first.auroc.value < first.auroc.high
    assert table.mean.num_findings == 4
    assert table.mean.auroc.value == pytest.approx(np.mean([row.auroc.value for row in table.rows]))
    assert table.mean.prevalence == pytest.approx(np.mean([row.prevalence for row in table.rows]))
    width = table.mean.auroc.high - table.mean.auroc.low
    assert 0 < width < first.auroc.high - first.auroc.low


def test_an_undefined_finding_stays_in_the_table_and_out_of_the_mean() -> None:
    labels, scores, groups, names = table_input()
    labels[:, 2] = np.where(np.isnan(labels[:, 2]), NAN, 0.0)
    table = classification_table(labels, scores, groups=groups, names=names, samples=50)
    assert np.isnan(table.rows[2].auroc.value)
    assert table.rows[2].auroc.num_undefined == 50
    assert table.mean.num_findings == 3
    others = np.mean([table.rows[i].auprc.value for i in (0, 1, 3)])
    assert table.mean.auprc.value == pytest.approx(others)
    assert table.mean.auprc.num_undefined == 0


def test_resamples_without_a_positive_are_counted() -> None:
    labels = np.zeros((20, 1))
    labels[0] = 1.0
    scores = np.arange(20.0)[:, None]
    table = classification_table(labels, scores, groups=np.arange(20), names=["rare"], samples=400)
    assert table.rows[0].auroc.num_undefined == pytest.approx(400 * (1 - 1 / 20) ** 20, abs=40)
    assert table.mean.auroc.num_undefined == table.rows[0].auroc.num_undefined


def test_table_follows_the_seed() -> None:
    labels, scores, groups, names = table_input()
    tables = [
        classification_table(labels, scores, groups=groups, names=names, samples=50, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]
