"""Crashes, kills, full disks, growing and changing sources: the same bytes, or one sentence."""

import csv
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deadly import Faulting
from source_files import table_rows, write_csv, write_png, write_table

from mmil_cli.data.convert import convert
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.info import read_info
from mmil_cli.data.pixels import Encoding
from mmil_cli.errors import DataError, UsageError
from mmil_cli.stages import conversion, preprocess
from mmil_cli.stages.preprocess import run

pytestmark = pytest.mark.usefixtures("time_limit")

LIMIT = 120
"""Seconds after which a command hangs, and the test fails."""

KILLS = int(os.environ.get("MMIL_TEST_KILLS", "2"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rejected(folder: Path) -> dict[str, str]:
    with (folder / "rejected.csv").open(newline="") as handle:
        return {row["image_id"]: row["reason"] for row in csv.DictReader(handle)}


def test_a_film_that_crashes_its_worker_is_left_out_whatever_the_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preprocess, "Conversion", Faulting)
    source = write_table(tmp_path, table_rows(14))
    for workers in (1, 3):
        run(source, tmp_path / f"by {workers}", workers=workers, shard_rows=5)
    assert rejected(tmp_path / "by 1") == {"i2": "crashed", "i9": "crashed"}
    assert content(tmp_path / "by 1") == content(tmp_path / "by 3")


@pytest.fixture
def read_ids(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The images that are read, in order."""
    ids: list[str] = []

    def watched(record, **options):
        ids.append(record.image_id)
        return convert(record, **options)

    monkeypatch.setattr(conversion, "convert", watched)
    return ids


NEW = (0, 5, 6, 7, 14)


def grown(folder: Path) -> tuple[Path, Path]:
    """A table without the rows of `NEW`, and the one with all."""
    rows = table_rows(15)
    whole = write_table(folder, rows)
    part = write_csv(folder / "part.csv", [row for n, row in enumerate(rows) if n not in NEW])
    (folder / "films/003.png").unlink()
    return part, whole


def test_new_studies_extend_a_dataset_without_the_old_being_read(tmp_path: Path, read_ids: list[str]) -> None:
    part, whole = grown(tmp_path)
    run(part, tmp_path / "data", shard_rows=4)
    read_ids.clear()
    result = run(whole, tmp_path / "data", shard_rows=4)
    assert read_ids == ["i0", "i3", "i5", "i6", "i7", "i14"]  # what was left out is tried again
    assert (result.taken_over, result.already_there) == (9, False)
    run(whole, tmp_path / "fresh", shard_rows=4)
    assert content(tmp_path / "data") == content(tmp_path / "fresh")
    assert run(whole, tmp_path / "data", shard_rows=4).already_there


def test_an_extension_that_is_interrupted_goes_on(tmp_path: Path, read_ids: list[str]) -> None:
    part, whole = grown(tmp_path)
    run(part, tmp_path / "data", shard_rows=4)
    before = content(tmp_path / "data")

    def stop(done: int, total: int, rejected: object) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(whole, tmp_path / "data", shard_rows=4, on_progress=stop)
    assert content(tmp_path / "data") == before
    read_ids.clear()
    assert run(whole, tmp_path / "data", shard_rows=4).resumed == 9
    assert read_ids == ["i14"]
    run(whole, tmp_path / "fresh", shard_rows=4)
    assert content(tmp_path / "data") == content(tmp_path / "fresh")


def test_a_film_that_was_missing_is_added_when_it_is_there(tmp_path: Path) -> None:
    _, whole = grown(tmp_path)
    run(whole, tmp_path / "data", shard_rows=4)
    write_png(tmp_path / "films/003.png", 3)
    assert run(whole, tmp_path / "data", shard_rows=4).info.rejected == {}
    assert StudyDataset.open(tmp_path / "data").row(3).image_id == "i3"


@pytest.mark.parametrize("change", ["gone", "report", "film", "labels"])
def test_rows_that_have_changed_are_refused_and_stay(tmp_path: Path, change: str) -> None:
    rows = table_rows(6)
    source = write_table(tmp_path, rows)
    run(source, tmp_path / "data")
    before = content(tmp_path / "data")
    if change == "film":
        write_png(tmp_path / "films/002.png", 77)
    elif change == "labels":
        write_csv(source, [{**row, "Mass": 0} for row in rows])
    else:
        rows[2]["report"] = "Clear lungs."
        write_csv(source, rows if change == "report" else rows[:2] + rows[3:])
    told = "labels: Nodule,Edema, now Nodule,Edema,Mass" if change == "labels" else r"1 records .*\(i2\)"
    with pytest.raises(UsageError, match=f"{told}.*--overwrite"):
        run(source, tmp_path / "data")
    assert content(tmp_path / "data") == before
    run(source, tmp_path / "data", overwrite=True)
    run(source, tmp_path / "fresh")
    assert content(tmp_path / "data") == content(tmp_path / "fresh")


@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
def test_a_dataset_that_does_not_know_its_records_is_not_extended(tmp_path: Path, damage: str) -> None:
    part, whole = grown(tmp_path)
    run(part, tmp_path / "data")
    states = tmp_path / "data/records.bin"
    raw = bytearray(states.read_bytes())
    raw[5] ^= 1
    states.write_bytes(bytes(raw) if damage == "flipped" else states.read_bytes()[:-3])
    if damage == "gone":
        states.unlink()
    with pytest.raises(DataError, match=r"records\.bin.*--overwrite"):
        run(whole, tmp_path / "data")


def test_a_damaged_row_is_not_taken_over(tmp_path: Path) -> None:
    part, whole = grown(tmp_path)
    run(part, tmp_path / "data")
    shard = tmp_path / "data/shard-00000.arrow"
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(raw)
    with pytest.raises(DataError, match=r"shard-00000\.arrow is damaged .*--overwrite"):
        run(whole, tmp_path / "data")


def test_a_film_that_is_written_to_meanwhile_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_table(tmp_path, table_rows(4))
    written: list[str] = []

    def meddling(record, **options):
        outcome = convert(record, **options)
        if record.image_id == "i1" and not written:
            written.append(str(write_png(tmp_path / "films/001.png", 50)))
        if record.image_id == "i2":
            os.utime(record.image, ns=(time.time_ns(), time.time_ns()))
        return outcome

    monkeypatch.setattr(conversion, "convert", meddling)
    result = run(source, tmp_path / "data")
    assert rejected(tmp_path / "data") == {"i2": "changing"}
    assert any("changed while they were read" in note for note in result.notes)
    monkeypatch.undo()
    run(source, tmp_path / "data")  # what is there now is what the dataset has, and i2 is quiet
    run(source, tmp_path / "fresh")
    assert content(tmp_path / "data") == content(tmp_path / "fresh")


def command(source: Path, out: Path, *options: object) -> list[str]:
    call = [sys.executable, "-m", "mmil_cli", "preprocess", source, "--out", out, *options]
    return [str(part) for part in call]


def test_kill_9_at_any_moment_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """By default a few kills; MMIL_TEST_KILLS=20 for the long test."""
    number = 40 * KILLS
    source = write_table(tmp_path, table_rows(number))
    code = (
        "import mmil_cli.stages.preprocess as p; p.SHARD_ROWS = 16; from mmil_cli.cli.app import main; main()"
    )

    def call(out: str, workers: int) -> list[str]:
        arguments = command(source, tmp_path / out, "--workers", workers)[3:]
        return [sys.executable, "-c", code, *arguments]

    started = time.monotonic()
    subprocess.run(call("whole", 1), check=True, capture_output=True, timeout=LIMIT)
    length = time.monotonic() - started
    killed, moments = 0, random.Random(KILLS)
    while killed < KILLS:
        process = subprocess.Popen(
            call("data", 1 + killed % 3), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(length * moments.uniform(0.35, 0.95))
        process.kill()
        process.wait(LIMIT)
        killed += 1
        if (tmp_path / "data").exists():  # it was faster than the kill, which does not count
            assert content(tmp_path / "data") == content(tmp_path / "whole")
            shutil.rmtree(tmp_path / "data")
            killed -= 1
    subprocess.run(call("data", 2), check=True, capture_output=True, timeout=LIMIT)
    assert content(tmp_path / "data") == content(tmp_path / "whole")


def test_a_full_disk_is_told_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """A limit of the size of files stands for the disk: writing fails in the middle of a shard."""
    rows = table_rows(40)
    source = write_csv(tmp_path / "films.csv", rows)
    for number, row in enumerate(rows):
        write_png(tmp_path / str(row["image"]), number, height=200, width=200)
    run(source, tmp_path / "whole", encoding=Encoding.RAW)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    call = command(source, tmp_path / "data", "--encoding", "raw", "--workers", 1)
    failed = subprocess.run(
        call, capture_output=True, text=True, preexec_fn=limited, check=False, timeout=LIMIT
    )
    assert failed.returncode == 1
    assert "there is no room for" in failed.stderr
    assert "give the same command again" in failed.stderr
    assert "Traceback" not in failed.stderr
    subprocess.run(call, check=True, capture_output=True, timeout=LIMIT)
    assert content(tmp_path / "data") == content(tmp_path / "whole")
    again = [*command(source, tmp_path / "data", "--workers", 1), "--overwrite", "--side", "150"]
    call = [*again, "--encoding", "raw"]
    failed = subprocess.run(
        call, capture_output=True, text=True, preexec_fn=limited, check=False, timeout=LIMIT
    )
    assert (failed.returncode, "no room" in failed.stderr) == (1, True)
    assert content(tmp_path / "data") == content(tmp_path / "whole")
    assert read_info(tmp_path / "data").side == 512
