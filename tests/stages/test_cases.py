"""Cases written and read back, and models compared on them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmil_cli.errors import DataError, UsageError
from mmil_cli.metrics.classification import auroc
from mmil_cli.metrics.comparison import delong
from mmil_cli.metrics.intervals import patient_weights
from mmil_cli.stages.cases import Cases, read_cases, write_cases
from mmil_cli.stages.compare import CompareRow, distinct_names, run


def scored(name: str, *, seed: int, quality: float, num: int = 80) -> Cases:
    """Labels that follow from the name, scores of a model of some quality."""
    labels = (np.random.default_rng(len(name)).random(num) < 0.4).astype(float)
    scores = quality * labels + np.random.default_rng(seed).normal(size=num)
    order = np.random.default_rng(seed + 1).permutation(num)
    films = np.array([f"film{number:03}" for number in range(num)])
    patients = np.array([f"p{number // 2}" for number in range(num)])
    return Cases(part="linear", name=name, case_id=films[order], patient_id=patients[order],
                 label=labels[order], value=scores[order])  # fmt: skip


def ranks(*, seed: int, num: int = 50) -> Cases:
    hits = (np.random.default_rng(seed).random(num) < 0.5).astype(float)
    hits[0] = np.nan
    ids = np.arange(num).astype(str)
    return Cases(part="image to text", name="R@5", case_id=ids, patient_id=ids, label=None, value=hits)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    for place, quality in enumerate((0.5, 2.0)):
        folder = tmp_path / "results" / "ab"[place]
        probe = [scored("Edema", seed=3 * place, quality=quality),
                 scored("Effusion", seed=10 + 3 * place, quality=quality)]  # fmt: skip
        write_cases(folder / "probe" / "probe_cases.parquet", probe)
        write_cases(folder / "retrieve" / "retrieve_cases.parquet", [ranks(seed=place)])
    return [tmp_path / "results" / "a", tmp_path / "results" / "b"]


def test_cases_come_back_as_they_were(tmp_path: Path) -> None:
    written = [scored("Edema", seed=1, quality=1.0), ranks(seed=0)]
    write_cases(tmp_path / "x_cases.parquet", written)
    found = read_cases(tmp_path / "x_cases.parquet")
    assert list(found) == [("linear", "Edema"), ("image to text", "R@5")]
    for before, after in zip(written, found.values(), strict=True):
        for name in ("case_id", "patient_id", "value", "label"):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert (tmp_path / "x_cases.parquet").stat().st_size < 5000
    write_cases(tmp_path / "none_cases.parquet", [])
    assert read_cases(tmp_path / "none_cases.parquet") == {}


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x_cases.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"x_cases\.parquet is no file of cases"):
        read_cases(tmp_path / "x_cases.parquet")


def _row(rows: tuple[CompareRow, ...], name: str, metric: str) -> CompareRow:
    return next(row for row in rows if (row.name, row.metric) == (name, metric))


def test_every_task_is_in_one_table_with_paired_tests(folders: list[Path], tmp_path: Path) -> None:
    result = run(folders, tmp_path / "out")
    assert result.models == ("a", "b")
    assert {(row.task, row.name) for row in result.rows} == {
        ("probe", "Edema"), ("probe", "Effusion"), ("probe", "mean of 2"), ("retrieve", "R@5")
    }  # fmt: skip
    first, second = (read_cases(f / "probe" / "probe_cases.parquet")["linear", "Edema"] for f in folders)
    order = np.argsort(second.case_id)[np.argsort(np.argsort(first.case_id))]
    second = replace(second, value=second.value[order], label=second.label[order])
    row = _row(result.rows, "Edema", "AUROC")
    assert row.found.first == pytest.approx(auroc(first.label, first.value))
    assert row.found.second == pytest.approx(auroc(first.label, second.value))
    assert row.found.p_delong == pytest.approx(delong(first.label, first.value, second.value).p)
    assert row.found.gap.low > 0
    assert row.found.p_bootstrap < 0.05
    assert (row.num_cases, row.num_patients) == (80, 40)
    retrieval = _row(result.rows, "R@5", "mean")
    assert np.isnan(retrieval.found.p_delong)
    assert retrieval.found.gap.low < retrieval.found.gap.value < retrieval.found.gap.high
    assert json.loads(result.record.read_text())["reference"] == "a"
    assert any("DeLong's p takes films for independent" in note for note in result.notes)


def test_the_difference_resamples_whole_patients_of_both_alike(folders: list[Path], tmp_path: Path) -> None:
    """The interval of the gap equals that of a loop over resamples of patients."""
    only = [folder / "probe" for folder in folders]
    row = _row(run(only, tmp_path / "out", names=["a", "b"], seed=5).rows, "Edema", "AUROC")
    first, second = (read_cases(f / "probe_cases.parquet")["linear", "Edema"] for f in only)
    patients = np.unique(first.patient_id)
    gaps = []
    for draw in patient_weights(patients, samples=1000, seed=5):
        of = dict(zip(patients, draw, strict=True))
        areas = [
            auroc(model.label, model.value, np.array([of[patient] for patient in model.patient_id]))
            for model in (first, second)
        ]
        gaps.append(float(areas[1]) - float(areas[0]))
    low, high = np.quantile(gaps, [0.025, 0.975])
    assert (row.found.gap.low, row.found.gap.high) == pytest.approx((low, high), abs=1e-12)


def test_the_mean_over_findings_is_of_the_same_resamples(folders: list[Path], tmp_path: Path) -> None:
    rows = run(folders, tmp_path / "out").rows
    parts = [_row(rows, name, "AUROC").found for name in ("Edema", "Effusion")]
    mean = _row(rows, "mean of 2", "AUROC").found
    assert mean.gap.value == pytest.approx(np.mean([part.gap.value for part in parts]))
    assert mean.gap.high - mean.gap.low < max(part.gap.high - part.gap.low for part in parts)


def test_a_model_differs_in_nothing_from_itself(folders: list[Path], tmp_path: Path) -> None:
    for row in run([folders[0], folders[0]], tmp_path / "out", names=["a", "again"]).rows:
        assert row.found.gap.value == row.found.gap.low == row.found.gap.high == 0.0
        assert row.found.p_bootstrap == 1.0


def _rewrite(folder: Path, change) -> None:
    path = folder / "probe" / "probe_cases.parquet"
    write_cases(path, [change(cases) for cases in read_cases(path).values()])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cases: replace(cases, case_id=np.char.add("x", cases.case_id)), "was scored on other cases"),
        (lambda cases: replace(cases, label=1 - cases.label), "has other labels"),
        (lambda cases: replace(cases, label=None), "has other labels"),
    ],
)
def test_other_cases_or_labels_are_refused(
    change: object, message: str, folders: list[Path], tmp_path: Path
) -> None:
    _rewrite(folders[1], change)
    with pytest.raises(UsageError, match=message):
        run(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_only_one_has_is_named(folders: list[Path], tmp_path: Path) -> None:
    (folders[1] / "retrieve" / "retrieve_cases.parquet").unlink()
    result = run(folders, tmp_path / "out")
    assert {row.task for row in result.rows} == {"probe"}
    assert any("retrieve image to text R@5 of a" in note for note in result.notes)


def test_folders_that_cannot_be_compared(folders: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    copy = folders[0] / "again" / "probe_cases.parquet"
    for given, message in (
        ([folders[0]], "two or more"),
        ([folders[0], tmp_path / "empty"], "holds no results to compare"),
        ([folders[0] / "retrieve", folders[1] / "probe"], "no task and finding in common"),
    ):
        with pytest.raises(UsageError, match=message):
            run(given, tmp_path / "out", names=["a", "b"])
    write_cases(copy, [])
    with pytest.raises(UsageError, match="several results of probe"):
        run([folders[0], folders[1]], tmp_path / "out")


def test_names_are_as_long_as_it_takes() -> None:
    assert distinct_names([Path("runs/a"), Path("runs/b")]) == ["a", "b"]
    assert distinct_names([Path("x/probe"), Path("y/probe")]) == ["x/probe", "y/probe"]
    with pytest.raises(UsageError, match="given twice"):
        distinct_names([Path("x"), Path("x")])
