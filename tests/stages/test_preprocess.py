import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from source_files import film, table_rows, write_csv, write_mimic, write_table
from typer.testing import CliRunner

from mmil_cli.cli.preprocess import preprocess
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.pixels import Encoding
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.errors import DataError, UsageError
from mmil_cli.stages.preprocess import Progress, run


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rejected(folder: Path) -> dict[str, str]:
    with (folder / "rejected.csv").open(newline="") as handle:
        return {row["image_id"]: row["reason"] for row in csv.DictReader(handle)}


def test_a_mimic_tree_becomes_a_dataset(tmp_path: Path) -> None:
    result = run(write_mimic(tmp_path / "mimic"), tmp_path / "data")
    dataset = StudyDataset.open(tmp_path / "data")
    assert (result.folder, result.already_there, result.resumed) == (tmp_path / "data", False, 0)
    assert {name: counts.images for name, counts in result.info.counts.items()} == {
        "train": 3, "validate": 2, "test": 1,
    }  # fmt: skip
    row = dataset.row(0)
    assert (row.patient_id, row.study_id, row.split, row.view) == ("10000032", "50414267", "train", "AP")
    assert row.sentences == (
        "There is a small left pleural effusion.",
        "The heart measures 12.5 cm.",
        "Small effusion of film 50414267.",
    )
    assert np.abs(dataset.pixels(0).astype(int) - film(0)).max() <= 1
    np.testing.assert_array_equal(dataset.labels()[0], [np.nan, 1, -1])


def test_nothing_of_the_dicom_header_gets_in(tmp_path: Path) -> None:
    run(write_mimic(tmp_path / "mimic"), tmp_path / "data", encoding=Encoding.RAW)
    for data in content(tmp_path / "data").values():
        assert b"Doe" not in data
        assert b"secret" not in data
        assert str(tmp_path).encode() not in data


def test_films_are_shrunk_and_know_the_way_back(tmp_path: Path) -> None:
    run(write_mimic(tmp_path / "mimic"), tmp_path / "data", side=32)
    dataset = StudyDataset.open(tmp_path / "data")
    row = dataset.row(0)
    assert dataset.pixels(0).shape == (32, 27)
    assert (row.source_height, row.source_width) == (48, 40)
    assert row.to_source.box((0, 0, 27, 32)) == pytest.approx((0, 0, 40, 48))


def test_the_number_of_workers_does_not_show(tmp_path: Path) -> None:
    source = write_table(tmp_path, table_rows(20))
    run(source, tmp_path / "one", workers=1, shard_rows=6)
    run(source, tmp_path / "two", workers=2, shard_rows=6)
    assert content(tmp_path / "one") == content(tmp_path / "two")


class Stopped(Exception):
    pass


def stop_after(number: int) -> Progress:
    def on_progress(done: int, total: int, rejected: Mapping[str, int]) -> None:
        if done == number:
            raise Stopped

    return on_progress


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, overwrite: bool) -> None:
    source = write_table(tmp_path, table_rows(20))
    (tmp_path / "films/003.png").unlink()
    run(source, tmp_path / "whole", shard_rows=6)
    for stop in (8, 15):
        with pytest.raises(Stopped):
            run(source, tmp_path / "data", shard_rows=6, on_progress=stop_after(stop), overwrite=overwrite)
        assert not (tmp_path / "data").exists()
    seen: list[tuple[int, int]] = []
    result = run(
        source,
        tmp_path / "data",
        shard_rows=6,
        overwrite=overwrite,
        on_progress=lambda done, total, rejected: seen.append((done, total)),
    )
    assert result.resumed == 13
    assert seen == [(done, 20) for done in range(14, 21)]
    assert content(tmp_path / "data") == content(tmp_path / "whole")


def test_the_same_again_is_complete_already(tmp_path: Path) -> None:
    source = write_table(tmp_path, table_rows(4))
    first = run(source, tmp_path / "data")
    before = content(tmp_path / "data")
    again = run(source, tmp_path / "data", workers=2, max_rejected=0.1)
    assert (again.already_there, again.info) == (True, first.info)
    assert content(tmp_path / "data") == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"side": 64}, "side: 512, now 64"),
        ({"encoding": Encoding.JPEG}, "encoding: png, now jpeg"),
        ({"seed": 7}, "seed: 0, now 7"),
        ({"source_options": SourceOptions(labels=("Edema",))}, "labels: Nodule,Edema, now Edema"),
    ],
)
def test_other_options_are_refused_unless_asked_to_overwrite(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    source = write_table(tmp_path, table_rows(12))
    before = run(source, tmp_path / "data").info.content_hash
    with pytest.raises(UsageError, match=told):
        run(source, tmp_path / "data", **options)
    after = run(source, tmp_path / "data", overwrite=True, **options).info.content_hash
    assert (after == before) == (options == {"side": 64})  # the films are smaller than that anyway
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_changed_source_is_seen(tmp_path: Path) -> None:
    source = write_table(tmp_path, table_rows(4))
    run(source, tmp_path / "data")
    (tmp_path / "films/001.png").unlink()
    with pytest.raises(UsageError, match=r"1 records of .* have changed since, .*\(i1\).*--overwrite"):
        run(source, tmp_path / "data")


def bad_records(folder: Path) -> Path:
    """Twelve rows of which eight cannot be used, each for another reason."""
    rows = [{**row, "split": "train"} for row in table_rows(12)]
    reports = {
        2: "",
        3: "___",
        4: "INDICATION: Cough.",
        5: "nan",
        6: "version https://git-lfs.github.com/spec/v1",
    }
    for number, text in reports.items():
        rows[number]["report"] = text
    rows[9]["split"] = ""
    rows[10]["image"] = ""
    path = write_table(folder, rows)
    (folder / "films/000.png").unlink()
    (folder / "films/001.png").write_bytes(b"no image")
    (folder / "films/007.png").write_bytes(b"")
    return path


def test_unusable_records_are_counted_and_never_become_data(tmp_path: Path) -> None:
    result = run(bad_records(tmp_path), tmp_path / "data", max_rejected=0.9)
    reasons = rejected(tmp_path / "data")
    assert reasons == {
        "i0": "missing-file",
        "i1": "not-an-image",
        "i2": "empty-report",
        "i3": "empty-report",
        "i4": "empty-report",
        "i5": "empty-report",
        "i6": "lfs-pointer",
        "i7": "empty-file",
        "i9": "missing-split",
        "i10": "missing-file",
    }
    assert sum(result.info.rejected.values()) == len(reasons)
    assert result.info.rejected["empty-report"] == 4
    dataset = StudyDataset.open(tmp_path / "data")
    assert dataset.column("image_id").tolist() == ["i8", "i11"]
    for index in range(len(dataset)):
        assert dataset.pixels(index).std() > 0
        assert all(sentence.strip() for sentence in dataset.row(index).sentences)


def test_too_many_unusable_records_fail_and_say_why(tmp_path: Path) -> None:
    source = bad_records(tmp_path)
    with pytest.raises(
        DataError, match=r"10 of 12 records cannot be used \(empty-report 4, .*--max-rejected"
    ):
        run(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert len(rejected(tmp_path / ".data.partial/dataset")) == 10
    assert run(source, tmp_path / "data", max_rejected=0.9).info.num_rows == 2


def test_a_dataset_of_nothing_is_never_made(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "films.csv", table_rows(3))
    with pytest.raises(DataError, match="3 of 3 records cannot be used"):
        run(source, tmp_path / "data", max_rejected=1.0)


def test_reports_in_files(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "report"} for row in table_rows(5)]
    for number, row in enumerate(rows):
        row["report_path"] = f"{number}.txt" if number < 4 else ""
    path = write_table(tmp_path, rows)
    (tmp_path / "0.txt").write_bytes("Clear lungs, 50 µm.".encode("cp1252"))
    (tmp_path / "1.txt").write_text("Clear lungs.\n")
    (tmp_path / "2.txt").write_bytes(b"\0\1\2")
    run(path, tmp_path / "data", max_rejected=0.9)
    assert rejected(tmp_path / "data") == {
        "i2": "unreadable-report", "i3": "missing-report", "i4": "missing-report",
    }  # fmt: skip
    assert StudyDataset.open(tmp_path / "data").row(0).sentences == ("Clear lungs, 50 µm.",)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"side": 8}, "--side is 8"), ({"workers": -1}, "--workers"), ({"max_rejected": 2}, "share")],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(write_table(tmp_path, table_rows(1)), tmp_path / "data", **options)


def command(*arguments: object) -> Any:
    app = typer.Typer()
    app.command()(preprocess)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_prints_a_summary(tmp_path: Path) -> None:
    rows = [{**row, "split": "val" if n < 2 else "train"} for n, row in enumerate(table_rows(6))]
    rows[4]["report"] = ""
    source = write_table(tmp_path, [{"note": row.pop("report"), **row} for row in rows])
    result = command(
        source, "--out", tmp_path / "data", "--column", "report=note", "--labels", "Edema", "--workers", 1
    )
    assert result.exit_code == 0, result.output
    assert "train: 3 images, 3 studies, 2 patients" in result.stdout
    assert "validate: 2 images, 2 studies, 1 patients" in result.stdout
    assert "left out: 1 (empty-report 1)" in result.stdout
    assert "labels: Edema\n" in result.stdout
    again = command(source, "--out", tmp_path / "data", "--column", "report=note", "--labels", "Edema")
    assert "complete already" in again.stdout


@pytest.mark.parametrize(
    ("pair", "message"),
    [("report", "not FIELD=NAME"), ("=x", "not FIELD=NAME"), ("report=nothing", "no column")],
)
def test_the_command_refuses_wrong_columns(tmp_path: Path, pair: str, message: str) -> None:
    result = command(write_table(tmp_path, table_rows(1)), "--out", tmp_path / "data", "--column", pair)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_real_films_and_notes(tmp_path: Path, shared_data: Path) -> None:
    options = SourceOptions(columns={"report": "note_radiographic", "patient_id": "group"})
    result = run(shared_data / "covid_cxr/pairs.csv", tmp_path / "data", source_options=options, side=128)
    assert {name: counts.images for name, counts in result.info.counts.items()} == {
        "train": 170,
        "validate": 23,
    }
    assert result.info.rejected == {"empty-report": 100}
    assert "auto_pleural_effusion" in result.info.label_names
    dataset = StudyDataset.open(tmp_path / "data")
    patients = dataset.column("patient_id")
    assert not set(patients[dataset.indices("train")]) & set(patients[dataset.indices("validate")])
    assert all(dataset.row(index).sentences for index in range(len(dataset)))
    assert min(dataset.pixels(index).std() for index in range(len(dataset))) > 10
