import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from source_files import film

from mmil_cli.data.convert import Example, Rejection
from mmil_cli.data.geometry import Affine
from mmil_cli.data.info import read_info
from mmil_cli.data.manifest import STATE_BYTES, Record
from mmil_cli.data.pixels import Encoding, encode
from mmil_cli.data.progress import Plan, Workshop, finished_dataset
from mmil_cli.data.reports import Section
from mmil_cli.data.shards import BATCH_ROWS, PART_RECORDS, Layout, ShardWriter, count_splits
from mmil_cli.errors import UsageError

LABELS = ("Edema", "No Finding")
PLAN = Plan({"side": 64}, "source")


def example(number: int, encoding: Encoding = Encoding.PNG) -> Example:
    pixels = film(number)
    record = Record(
        image=Path(f"films/{number}.png"),
        image_id=f"i{number}",
        study_id=f"s{number // 2}",
        patient_id=f"p{number // 4}",
        split="train" if number < 4 else "own",
        labels=(None, number % 3 - 1),
    )
    return Example(
        record=record,
        image=encode(pixels, encoding),
        height=pixels.shape[0],
        width=pixels.shape[1],
        source_height=pixels.shape[0] * 2,
        source_width=pixels.shape[1] * 2,
        spacing_mm=(0.139, 0.14) if number % 2 else None,
        to_source=Affine(2.0, 2.0, 0.0, 0.0),
        view="PA",
        orientation="",
        sections=(Section("findings", f"Film {number}."), Section("history", "Cough.")),
        sentences=(f"Film {number}.",),
        text_key=f"film {number}",
    )


def layout(folder: Path, *, shard_rows: int = 3, encoding: Encoding = Encoding.PNG) -> Layout:
    return Layout(LABELS, encoding, 64, folder, shard_rows)


def rejection(number: int) -> Rejection:
    return Rejection(example(number).record, "missing-file", "gone")


def outcomes(number: int) -> list[Example | Rejection]:
    return [rejection(n) if n % 5 == 2 else example(n) for n in range(number)]


def write(folder: Path, items: list[Example | Rejection], **options: object) -> None:
    with Workshop(folder) as workshop:
        workshop.start(PLAN, states(len(items)), overwrite=False)
        writer = ShardWriter(workshop, layout(Path(), **options))  # type: ignore[arg-type]
        add(writer, items, start=writer.records)
        writer.flush()
        counts = count_splits([item.record for item in items], writer.kept)
        writer.publish(PLAN, {"mmil": "test"}, counts)


def begin(folder: Path, items: list[Example | Rejection]) -> Workshop:
    """What is there of a run that was interrupted after these."""
    with Workshop(folder) as workshop:
        workshop.start(PLAN, states(len(items)), overwrite=False)
        writer = ShardWriter(workshop, layout(Path()))
        add(writer, items)
        writer.close()
    return workshop


def state(number: int) -> bytes:
    return number.to_bytes(STATE_BYTES)


def states(number: int) -> bytes:
    return b"".join(map(state, range(number)))


def add(writer: ShardWriter, items: list[Example | Rejection], *, start: int = 0) -> None:
    for number, item in enumerate(items[start:], start=start):
        writer.add(item, state=state(number))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_folder_holds_shards_info_and_rejected(tmp_path: Path) -> None:
    write(tmp_path / "data", outcomes(10))
    assert list(content(tmp_path / "data")) == [
        "dataset.json", "records.bin", "rejected.csv",
        "shard-00000.arrow", "shard-00001.arrow", "shard-00002.arrow",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    info = read_info(tmp_path / "data")
    assert [shard.rows for shard in info.shards] == [3, 3, 2]
    assert info.rejected == {"missing-file": 2}
    assert (info.counts["train"].images, info.counts["train"].studies, info.counts["train"].patients) == (
        3,
        2,
        1,
    )
    assert (info.counts["own"].images, info.counts["own"].studies, info.counts["own"].patients) == (5, 3, 2)
    with (tmp_path / "data/rejected.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["image_id"] for row in rows] == ["i2", "i7"]
    assert rows[0] == {
        "image_id": "i2", "study_id": "s1", "path": "films/2.png", "reason": "missing-file", "detail": "gone",
    }  # fmt: skip


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 5, 9, 10])
def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path: Path, stop: int) -> None:
    write(tmp_path / "whole", outcomes(10))
    begin(tmp_path / "data", outcomes(10)[:stop])
    assert not (tmp_path / "data").exists()
    write(tmp_path / "data", outcomes(10))
    assert content(tmp_path / "data") == content(tmp_path / "whole")


def test_a_damaged_shard_of_an_interrupted_run_is_made_again(tmp_path: Path) -> None:
    write(tmp_path / "whole", outcomes(10))
    workshop = begin(tmp_path / "data", outcomes(10))
    (workshop.dataset / "shard-00001.arrow").write_bytes(b"cut")
    write(tmp_path / "data", outcomes(10))
    assert content(tmp_path / "data") == content(tmp_path / "whole")


def test_the_content_hash_does_not_know_the_shards_but_every_value(tmp_path: Path) -> None:
    write(tmp_path / "a", outcomes(10), shard_rows=3)
    write(tmp_path / "b", outcomes(10), shard_rows=100)
    write(tmp_path / "c", outcomes(9))
    write(tmp_path / "d", outcomes(10)[::-1])
    hashes = [read_info(tmp_path / name).content_hash for name in "abcd"]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_memory_is_bounded_by_batches(tmp_path: Path) -> None:
    write(tmp_path / "data", [example(n) for n in range(BATCH_ROWS + 5)], shard_rows=1000)
    batches = list(pa.ipc.open_stream(pa.memory_map(str(tmp_path / "data/shard-00000.arrow"))))
    assert [batch.num_rows for batch in batches] == [BATCH_ROWS, 5]


def test_another_plan_is_refused_but_replaced_when_asked(tmp_path: Path) -> None:
    with begin(tmp_path / "data", []) as workshop:
        with pytest.raises(UsageError, match=r"interrupted run for data .*side: 64, now 32.*--overwrite"):
            workshop.start(Plan({"side": 32}, "source"), b"", overwrite=False)
        workshop.start(Plan({"side": 32}, "source"), b"", overwrite=True)
        workshop.start(Plan({"side": 32}, "source"), b"", overwrite=False)


@pytest.mark.parametrize("changed", [0, 4, 9])
def test_parts_stay_up_to_the_first_record_that_has_changed(tmp_path: Path, changed: int) -> None:
    now = bytearray(states(10))
    now[changed * STATE_BYTES] ^= 1
    with begin(tmp_path / "data", outcomes(10)) as workshop:  # whole parts end after the records 3 and 6
        workshop.start(PLAN, bytes(now), overwrite=False)
        assert ShardWriter(workshop, layout(Path())).records == {0: 0, 4: 4, 9: 7}[changed]


def test_records_without_rows_are_remembered_and_held_no_longer_than_a_part(tmp_path: Path) -> None:
    items: list[Example | Rejection] = [rejection(n) for n in range(3 * PART_RECORDS + 2)]
    writer = ShardWriter(begin(tmp_path / "data", items), layout(Path()))
    assert (writer.records, writer.rejected) == (3 * PART_RECORDS, {"missing-file": 3 * PART_RECORDS})
    write(tmp_path / "data", [*items, example(60)])
    assert read_info(tmp_path / "data").rejected == {"missing-file": len(items)}
    assert (tmp_path / "data/rejected.csv").read_text().count("missing-file") == len(items)


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    told = r"another run is making .*data just now"
    with (
        begin(tmp_path / "data", []) as first,
        pytest.raises(UsageError, match=told),
        Workshop(first.target),
    ):
        raise AssertionError
    with Workshop(first.target) as second:
        second.start(PLAN, b"", overwrite=False)


def test_what_was_moved_aside_comes_back_when_the_run_was_killed_between_two_renames(tmp_path: Path) -> None:
    write(tmp_path / "data", outcomes(10))
    before = content(tmp_path / "data")
    workshop = begin(tmp_path / "data", [])
    (tmp_path / "data").rename(workshop.folder / "old")
    with Workshop(tmp_path / "data"):
        assert content(tmp_path / "data") == before


def test_a_finished_dataset_is_known_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert finished_dataset(folder, PLAN, overwrite=False) is None
    write(folder, outcomes(10))
    assert finished_dataset(folder, PLAN, overwrite=False) == read_info(folder)
    assert finished_dataset(folder, PLAN, overwrite=True) is None
    with pytest.raises(UsageError, match=r"made otherwise \(side: 64, now 32\).*--overwrite"):
        finished_dataset(folder, Plan({"side": 32}, "source"), overwrite=False)


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="is no dataset folder"):
            finished_dataset(tmp_path, PLAN, overwrite=overwrite)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_hugging_face_datasets_opens_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: Encoding
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    write(tmp_path / "data", [example(n, encoding) for n in range(3)], encoding=encoding)
    opened = datasets.Dataset.from_file(str(tmp_path / "data/shard-00000.arrow"))
    row = opened[1]
    assert len(opened) == 3
    assert (row["image_id"], row["split"], row["height"], row["spacing"]) == (
        "i1",
        "train",
        48,
        [0.139, 0.14],
    )
    assert row["labels"] == {"Edema": None, "No Finding": 0}
    assert row["sections"] == [{"name": "findings", "text": "Film 1."}, {"name": "history", "text": "Cough."}]
    assert row["to_source"] == [2.0, 2.0, 0.0, 0.0]
    if encoding is Encoding.RAW:
        assert row["image"]["bytes"] == film(1).tobytes()
    elif encoding is Encoding.PNG:
        assert np.array_equal(np.asarray(row["image"]), film(1))
    else:
        assert np.abs(np.asarray(row["image"]).astype(int) - film(1)).mean() < 3


def test_dataset_json_names_no_place_of_this_machine(tmp_path: Path) -> None:
    write(tmp_path / "data", outcomes(3))
    text = (tmp_path / "data/dataset.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["format"] == 1
