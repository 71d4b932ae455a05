"""What preprocess says that it would do, against what it then does."""

import os
from pathlib import Path

import pytest
import typer
from archives import write_dicom_folder
from source_files import table_rows, write_csv, write_mimic, write_table
from typer.testing import CliRunner, Result

from mmil_cli.cli.preprocess import preprocess
from mmil_cli.errors import UsageError
from mmil_cli.stages import dry_run
from mmil_cli.stages.preprocess import run

pytestmark = pytest.mark.usefixtures("time_limit")


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def command(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(preprocess)
    return CliRunner().invoke(app, [*map(str, arguments), "--workers", "1", "--dry-run"])


def damaged_table(folder: Path) -> Path:
    """Of ten films one is missing, one no film, and one has no report."""
    rows = table_rows(10)
    source = write_table(folder, rows)
    (folder / "films/004.png").unlink()
    (folder / "films/006.png").write_bytes(b"no film")
    rows[3]["report"] = " "
    return write_csv(source, rows)


@pytest.mark.parametrize("kind", ["table", "mimic", "dicoms"])
def test_it_foretells_what_a_run_makes_and_writes_nothing(tmp_path: Path, kind: str) -> None:
    write = {"table": damaged_table, "mimic": write_mimic, "dicoms": write_dicom_folder}[kind]
    source = write(tmp_path / "source")
    before = state(tmp_path)
    found = dry_run.run(source, tmp_path / "some/data")
    assert state(tmp_path) == before
    info = run(source, tmp_path / "data").info
    faults = {reason: count for reason, (count, _) in (*found.faults.items(), *found.sample_faults.items())}
    assert faults == info.rejected
    assert found.records == sum(info.rejected.values()) + sum(each.images for each in info.counts.values())
    assert found.films == found.sampled == found.records - sum(count for count, _ in found.faults.values())
    expected = sum(path.stat().st_size for path in (tmp_path / "data").glob("shard-*"))
    assert found.bytes_needed == pytest.approx(expected, rel=0.25)
    assert found.seconds is not None
    assert found.seconds > 0
    assert found.failures == ()


def test_the_command_tells_faults_first_and_whether_the_run_would_fail(tmp_path: Path) -> None:
    source = damaged_table(tmp_path / "source")
    fine = command(source, "--out", tmp_path / "data")
    lines = fine.stdout.splitlines()
    assert lines[:4] == [
        "fault: empty-report: 1 of 10 records (i3)",
        "fault: missing-file: 1 of 10 records (i4)",
        "fault: not-an-image: 1 of 8 films read (i6)",
        "records: 10, films to read: 8 (train 7, validate 1)",
    ]
    assert lines[4].startswith("time: about ")
    assert lines[5].startswith("disk: about 0.0")
    assert lines[6:] == ["nothing was written"]
    assert fine.exit_code == 0
    strict = command(source, "--out", tmp_path / "data", "--max-rejected", 0.29)
    assert "the run would fail: about 3 of 10 records cannot be used, and --max-rejected is 0.29" in (
        strict.stdout.splitlines()
    )
    assert strict.exit_code == 1
    assert not (tmp_path / "data").exists()


def test_a_run_that_would_end_with_nothing_would_fail(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "t.csv", [{"image": "none.png", "report": "Clear.", "patient_id": "p"}])
    assert dry_run.run(source, tmp_path / "data", max_rejected=1.0).failures == (
        "none of 1 records can be used",
    )
    (tmp_path / "list.txt").write_text("p")
    assert dry_run.run(source, tmp_path / "data", exclusions=tmp_path / "list.txt").failures == (
        "--exclude and --only leave no record of the source",
    )


def test_a_disk_with_too_little_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_table(tmp_path, table_rows(4))
    usage = dry_run.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(dry_run.shutil, "disk_usage", lambda _: usage)
    assert dry_run.run(source, tmp_path / "data").failures == ("the disk has too little room",)


def test_the_sample_is_taken_from_the_whole_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "SAMPLE", 6)
    rows = table_rows(11)
    source = write_table(tmp_path, rows)
    (tmp_path / "films/009.png").write_bytes(b"no film")
    found = dry_run.run(source, tmp_path / "data")
    assert (found.sampled, found.films) == (6, 11)
    assert found.sample_faults == {"not-an-image": (1, "i9")}


def test_what_a_run_refuses_is_refused(tmp_path: Path) -> None:
    source = write_table(tmp_path, table_rows(3))
    with pytest.raises(UsageError, match="--side is 3 pixels"):
        dry_run.run(source, tmp_path / "data", side=3)
    with pytest.raises(UsageError, match="--max-rejected is 2"):
        dry_run.run(source, tmp_path / "data", max_rejected=2.0)
    with pytest.raises(UsageError, match=r"--crosswalk .* needs --pseudonymise"):
        dry_run.run(source, tmp_path / "data", crosswalk=tmp_path / "walk.csv")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=f"--out: .*file{os.sep}?.* is a file; choose another folder"):
        dry_run.run(source, tmp_path / "file/data")
    told = command(source, "--out", tmp_path / "data", "--overwrite")
    assert isinstance(told.exception, UsageError)


def test_a_dataset_that_grows(tmp_path: Path) -> None:
    rows = table_rows(8)
    source = write_table(tmp_path / "source", rows[:5])
    run(source, tmp_path / "data")
    told = command(source, "--out", tmp_path / "data").stdout
    assert f"at --out: {tmp_path / 'data'} holds this dataset already" in told
    assert "films to read: 0 (none)" in told
    write_table(tmp_path / "source", rows)
    before = state(tmp_path)
    found = dry_run.run(source, tmp_path / "data")
    assert (found.done, found.films, found.sampled) == (0, 8, 8)
    assert found.failures[0].startswith(f"5 records of {tmp_path / 'data'} have changed since, or are gone")
    assert state(tmp_path) == before


def test_only_what_is_new_is_counted(tmp_path: Path) -> None:
    rows = table_rows(8)
    source = write_table(tmp_path / "source", rows)
    write_csv(source, rows[:5])
    run(source, tmp_path / "data")
    write_csv(source, rows)
    found = dry_run.run(source, tmp_path / "data")
    assert (found.records, found.done, found.films, found.sampled, found.failures) == (8, 5, 3, 3, ())
    assert (
        found.at_out == f"5 films of the dataset at {tmp_path / 'data'} are kept, and only new ones are read"
    )
    made = run(source, tmp_path / "data")
    assert made.taken_over == found.done
    expected = sum(path.stat().st_size for path in (tmp_path / "data").glob("shard-*"))
    assert found.bytes_needed == pytest.approx(expected, rel=0.25)


def test_an_interrupted_run_is_counted(tmp_path: Path) -> None:
    source = damaged_table(tmp_path / "source")

    def stop(done: int, total: int, rejected: object) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "data", shard_rows=2, on_progress=stop)
    with pytest.raises(UsageError, match="asked otherwise"):
        run(source, tmp_path / "data")
    otherwise = dry_run.run(source, tmp_path / "data")
    assert (
        "an interrupted run for data was asked otherwise (shard_rows: 2, now 1024)" in otherwise.failures[0]
    )


def test_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "SHARD_ROWS", 2)
    source = damaged_table(tmp_path / "source")

    def stop(done: int, total: int, rejected: object) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "data", shard_rows=2, on_progress=stop)
    before = state(tmp_path)
    found = dry_run.run(source, tmp_path / "data", max_rejected=0.3)
    assert state(tmp_path) == before
    assert found.failures == ()
    assert (
        found.at_out
        == f"an interrupted run has done the first {found.done} records, and the run goes on from them"
    )
    assert dry_run.run(source, tmp_path / "data", max_rejected=0.2).failures == (
        "about 3 of 10 records cannot be used, and --max-rejected is 0.2",
    )
    assert run(source, tmp_path / "data", shard_rows=2).resumed == found.done > 0


@pytest.mark.parametrize("name", ["side", "foreign"])
def test_something_else_at_out(tmp_path: Path, name: str) -> None:
    source = write_table(tmp_path / "source", table_rows(4))
    if name == "side":
        run(source, tmp_path / "data", side=64)
        expected = "already holds a dataset that was made otherwise (side: 64, now 512)"
    else:
        write_csv(tmp_path / "data/mine.csv", [{"a": 1}])
        expected = "is there already and is no dataset folder; choose another --out"
    told = command(source, "--out", tmp_path / "data")
    assert f"the run would fail: {tmp_path / 'data'} {expected}" in told.stdout
    assert told.exit_code == 1
