"""`mmil preprocess --exclude`: what is named is left out, counted and listed, and nothing else changes."""

import csv
from pathlib import Path

import pytest
import typer
from source_files import table_rows, write_csv, write_mimic, write_table
from typer.testing import CliRunner

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import DataError, UsageError
from mmil_cli.stages.preprocess import run


def rejected(folder: Path) -> dict[str, str]:
    with (folder / "rejected.csv").open(newline="") as handle:
        return {row["image_id"]: row["reason"] for row in csv.DictReader(handle)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_table(tmp_path / "source", table_rows(8))


@pytest.fixture
def two_patients(tmp_path: Path) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("p0\np2\n")
    return path


def test_what_is_named_is_left_out_and_counted(source: Path, two_patients: Path, tmp_path: Path) -> None:
    result = run(source, tmp_path / "data", exclusions=two_patients, max_rejected=0)
    assert StudyDataset.open(tmp_path / "data").column("image_id").tolist() == ["i2", "i3", "i6", "i7"]
    assert result.info.rejected == {"excluded": 4}
    assert rejected(tmp_path / "data") == dict.fromkeys(("i0", "i1", "i4", "i5"), "excluded")


def test_the_others_keep_their_split(source: Path, two_patients: Path, tmp_path: Path) -> None:
    splits = []
    for name, exclusions in (("all", None), ("some", two_patients)):
        run(source, tmp_path / name, exclusions=exclusions)
        dataset = StudyDataset.open(tmp_path / name)
        splits.append(dict(zip(dataset.column("image_id"), dataset.column("split"), strict=True)))
    assert {name: splits[0][name] for name in splits[1]} == splits[1]


def test_the_share_of_rejected_records_is_of_those_wanted(
    source: Path, two_patients: Path, tmp_path: Path
) -> None:
    (source.parent / "films/002.png").unlink()
    with pytest.raises(DataError, match=r"1 of 4 records cannot be used"):
        run(source, tmp_path / "data", exclusions=two_patients, max_rejected=0.24)
    assert run(source, tmp_path / "data", exclusions=two_patients, max_rejected=0.25).info.rejected == {
        "excluded": 4,
        "missing-file": 1,
    }


def test_a_list_of_everything_is_refused(source: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "list.csv", [{"patient_id": f"p{n}"} for n in range(4)])
    with pytest.raises(DataError, match="leave none of the 8 records"):
        run(source, tmp_path / "data", exclusions=path)


def test_another_list_makes_another_dataset(source: Path, two_patients: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "data", exclusions=two_patients)
    assert run(source, tmp_path / "data", exclusions=two_patients).already_there
    with pytest.raises(UsageError, match=r"exclude: .*, now None"):
        run(source, tmp_path / "data")


def test_a_list_of_what_to_keep(source: Path, two_patients: Path, tmp_path: Path) -> None:
    result = run(source, tmp_path / "data", only=two_patients, max_rejected=0)
    assert StudyDataset.open(tmp_path / "data").column("image_id").tolist() == ["i0", "i1", "i4", "i5"]
    assert result.info.rejected == {"excluded": 4}
    with pytest.raises(UsageError, match=r"exclude: None, now .*only: "):
        run(source, tmp_path / "data", exclusions=two_patients)
    with pytest.raises(UsageError, match="--only: no file"):
        run(source, tmp_path / "other", only=tmp_path / "nothing")


def test_both_lists_together(source: Path, two_patients: Path, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("i5")
    run(source, tmp_path / "data", only=two_patients, exclusions=tmp_path / "one.txt")
    assert StudyDataset.open(tmp_path / "data").column("image_id").tolist() == ["i0", "i1", "i4"]


def test_the_films_of_ms_cxr_against_mimic(tmp_path: Path) -> None:
    """A table like MS-CXR's, one row a box, against the tree it overlaps, on the command line."""
    from mmil_cli.cli.preprocess import preprocess

    tree = write_mimic(tmp_path / "mimic")
    film = sorted(tree.rglob("*.dcm"))[0].stem
    box = {"dicom_id": film, "category_name": "Edema", "label_text": "edema", "x": 1, "y": 2, "w": 3, "h": 4}
    boxes = write_csv(tmp_path / "ms_cxr.csv", [box, {**box, "x": 9}])
    app = typer.Typer()
    app.command()(preprocess)
    result = CliRunner().invoke(
        app, [str(tree), "--out", str(tmp_path / "data"), "--exclude", str(boxes), "--workers", "1"]
    )
    assert result.exit_code == 0, result.output
    assert "left out: 1 (excluded 1)" in result.stdout
    assert rejected(tmp_path / "data") == {film: "excluded"}
