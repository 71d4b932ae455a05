from collections import Counter
from pathlib import Path

import pytest

from mmil_cli.data.manifest import Record
from mmil_cli.data.splits import assign_splits, check_split_names, normalise_split, split_of
from mmil_cli.errors import DataError


def records(patients: list[str], split: str | None = None) -> list[Record]:
    return [Record(Path(f"{n}.png"), f"i{n}", f"s{n}", patient, split) for n, patient in enumerate(patients)]


def test_names_of_splits_are_folded() -> None:
    assert {normalise_split(name) for name in ("val", "Valid", "validation", " validate")} == {"validate"}
    assert normalise_split("Training") == "train"
    assert normalise_split("dev_boxes") == "dev_boxes"
    assert normalise_split("  ") is None
    assert normalise_split(None) is None


def test_shares_are_those_asked_for() -> None:
    counts = Counter(split_of(f"p{n}") for n in range(20_000))
    assert abs(counts["train"] / 20_000 - 0.8) < 0.01
    assert abs(counts["validate"] / 20_000 - 0.1) < 0.01
    assert abs(counts["test"] / 20_000 - 0.1) < 0.01


def test_a_split_is_stable_over_versions() -> None:
    """Changing these would move patients between the splits of published datasets."""
    assert [split_of(patient) for patient in ("p0", "p1", "p8", "p9")] == [
        "train",
        "validate",
        "validate",
        "test",
    ]


def test_a_split_depends_on_patient_and_seed_alone() -> None:
    patients = [f"p{n}" for n in range(200)]
    together = {r.patient_id: r.split for r in assign_splits(records(patients))}
    assert together == {r.patient_id: r.split for r in assign_splits(records(patients[::-1]))}
    assert together["p7"] == assign_splits(records(["p7"]))[0].split
    assert together != {r.patient_id: r.split for r in assign_splits(records(patients), seed=1)}


def test_all_images_of_a_patient_are_in_one_split() -> None:
    assigned = assign_splits(records([f"p{n % 40}" for n in range(400)]))
    by_patient = {(r.patient_id, r.split) for r in assigned}
    assert len(by_patient) == 40


def test_splits_of_the_source_are_left_alone() -> None:
    named = [*records(["a", "b"], "train"), *records(["c"])]
    assert [record.split for record in assign_splits(named)] == ["train", "train", None]


@pytest.mark.parametrize(
    "name", ["trian", "tran", "traain", "tarin", "tesst", "tets", "valdiation", "vlidate"]
)
def test_a_slip_of_the_pen_makes_no_split_of_its_own(name: str) -> None:
    with pytest.raises(DataError, match=rf"misspelt: '{name}' of 2 records \(is it t?"):
        check_split_names([*records(["a", "b"], name), *records(["c"], "train")])


@pytest.mark.parametrize(
    "name", ["train", "validate", "test", "dev", "eval", "train2", "test-b", "rest", "own"]
)
def test_splits_of_ones_own_are_free(name: str) -> None:
    check_split_names([*records(["a"], name), *records(["b"], None)])
