"""Labels out of the reports, from the command to the dataset."""

from pathlib import Path

import numpy as np
import pytest
import typer
from source_files import film, write_csv, write_mimic, write_png
from typer.testing import CliRunner

from mmil_cli.cli.preprocess import preprocess
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.mentions import FINDINGS
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.errors import UsageError
from mmil_cli.stages.preprocess import run

REPORTS = (
    "HISTORY: Pneumonia.\nFINDINGS: Large left effusion. No pneumothorax.",
    "IMPRESSION: Possible pneumonia.",
    "IMPRESSION: No acute process.",
)


def write_films(folder: Path, **columns: object) -> Path:
    rows = [
        {"image": write_png(folder / f"{n}.png", n).name, "report": report, "patient_id": f"p{n}", **columns}
        for n, report in enumerate(REPORTS)
    ]
    return write_csv(folder / "films.csv", rows)


def told(folder: Path) -> list[dict[str, float]]:
    dataset = StudyDataset.open(folder)
    rows = [dict(zip(dataset.label_names, row, strict=True)) for row in dataset.labels()]
    return [{name: value for name, value in row.items() if not np.isnan(value)} for row in rows]


def test_reports_give_the_labels(tmp_path: Path) -> None:
    result = run(write_films(tmp_path / "films"), tmp_path / "data", label_reports=True)
    assert result.info.label_names == FINDINGS
    assert told(tmp_path / "data") == [
        {"Pleural Effusion": 1, "Pneumothorax": 0},
        {"Pneumonia": -1},
        {"No Finding": 1},
    ]


def test_without_it_there_are_none(tmp_path: Path) -> None:
    assert run(write_films(tmp_path / "films"), tmp_path / "data").info.label_names == ()


def test_it_takes_the_place_of_columns_and_says_so(tmp_path: Path) -> None:
    result = run(write_films(tmp_path / "films", Nodule=1), tmp_path / "data", label_reports=True)
    assert result.info.label_names == FINDINGS
    assert "1 label columns of the source are left out: the labels come from the reports" in result.notes
    assert result.info.options["labels"] == "of the reports"


def test_a_mimic_tree_is_labelled_too(tmp_path: Path) -> None:
    run(write_mimic(tmp_path / "mimic"), tmp_path / "data", label_reports=True)
    assert all(row == {"Pleural Effusion": 1} for row in told(tmp_path / "data"))
    assert StudyDataset.open(tmp_path / "data").pixels(0).shape == film(0).shape


def test_other_labels_are_another_dataset(tmp_path: Path) -> None:
    source = write_films(tmp_path / "films")
    run(source, tmp_path / "data")
    with pytest.raises(UsageError, match="labels"):
        run(source, tmp_path / "data", label_reports=True)


def test_columns_and_reports_cannot_both_be_asked(tmp_path: Path) -> None:
    source = write_films(tmp_path / "films", Nodule=1)
    with pytest.raises(UsageError, match="--labels takes the labels from columns and --label-reports"):
        run(
            source,
            tmp_path / "data",
            label_reports=True,
            source_options=SourceOptions(labels=("Nodule",)),
        )


def test_the_command_passes_it_on(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(preprocess)
    source = write_films(tmp_path / "films")
    arguments = [str(source), "--out", str(tmp_path / "data"), "--workers", "1", "--label-reports"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert f"labels: {', '.join(FINDINGS)}" in result.output
    assert told(tmp_path / "data")[1] == {"Pneumonia": -1}


def test_graded_columns_are_labels_by_threshold(tmp_path: Path) -> None:
    source = write_films(tmp_path / "films", Edema=2)
    run(source, tmp_path / "data", source_options=SourceOptions(labels=("Edema",)))
    assert told(tmp_path / "data") == [{"Edema >= 1": 1, "Edema >= 2": 1}] * 3
