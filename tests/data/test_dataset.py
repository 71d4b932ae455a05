import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from source_files import film, table_rows, write_csv, write_table

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.geometry import Affine
from mmil_cli.data.pixels import Encoding
from mmil_cli.data.reports import Section
from mmil_cli.errors import DataError, UsageError
from mmil_cli.stages.preprocess import run

SPLITS = ("train", "train", "val", "own")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight films of four patients over three shards."""
    place = tmp_path_factory.mktemp("dataset")
    rows = [{**row, "split": SPLITS[n // 2]} for n, row in enumerate(table_rows(8))]
    return run(write_table(place, rows), place / "data", side=48, shard_rows=3).folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_rows_and_pixels_are_those_put_in(folder: Path) -> None:
    dataset = StudyDataset.open(folder)
    assert len(dataset) == 8
    for index in (5, 0, 7, 2, 3):
        assert np.array_equal(dataset.pixels(index), film(index))
        assert dataset.row(index).image_id == f"i{index}"
    row = dataset.row(5)
    assert (row.study_id, row.patient_id, row.split, row.view) == ("s5", "p2", "validate", "PA")
    assert row.sections == (Section("findings", "Film 5 shows a nodule. No effusion."),)
    assert row.sentences == ("Film 5 shows a nodule.", "No effusion.")
    assert row.text_key == "film 5 shows a nodule\nno effusion"
    assert row.to_source == Affine()
    assert (row.height, row.width, row.source_height, row.source_width, row.spacing_mm) == (
        48,
        40,
        48,
        40,
        None,
    )


@pytest.mark.parametrize("encoding", list(Encoding))
def test_every_encoding_gives_the_film_back(tmp_path: Path, encoding: Encoding) -> None:
    run(write_table(tmp_path, table_rows(2)), tmp_path / "data", encoding=encoding)
    pixels = StudyDataset.open(tmp_path / "data").pixels(1)
    error = np.abs(pixels.astype(int) - film(1))
    assert error.max() == 0 if encoding is not Encoding.JPEG else error.mean() < 3


def test_pixels_are_writeable_and_of_their_own(folder: Path) -> None:
    dataset = StudyDataset.open(folder)
    dataset.pixels(0)[:] = 0
    assert np.array_equal(dataset.pixels(0), film(0))


@pytest.mark.parametrize("index", [-1, 8])
def test_rows_out_of_range(folder: Path, index: int) -> None:
    with pytest.raises(IndexError, match="of a dataset of 8 rows"):
        StudyDataset.open(folder).row(index)


def test_splits_are_rows_in_order(folder: Path) -> None:
    dataset = StudyDataset.open(folder)
    assert dataset.indices("train").tolist() == [0, 1, 2, 3]
    assert dataset.indices("validate").tolist() == dataset.indices("val").tolist() == [4, 5]
    assert dataset.indices("own").tolist() == [6, 7]
    assert dataset.indices(None).tolist() == list(range(8))
    assert dataset.indices("train").dtype == np.int64
    assert dataset.splits == ("train", "validate", "own")
    with pytest.raises(UsageError, match="no split 'test'; it has: train, validate, own"):
        dataset.indices("test")


def test_labels_are_vectors_with_nan_for_missing(folder: Path) -> None:
    dataset = StudyDataset.open(folder)
    labels = dataset.labels()
    nan = np.nan
    assert dataset.label_names == ("Nodule", "Edema")
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels[:, 0], np.ones(8))
    np.testing.assert_array_equal(labels[:, 1], [nan, 0, -1, nan, 0, -1, nan, 0])
    np.testing.assert_array_equal(dataset.labels(["Edema"])[:, 0], labels[:, 1])
    with pytest.raises(UsageError, match="no labels of 'Edma'; did you mean 'Edema'"):
        dataset.labels(["Edma"])


def test_a_dataset_without_labels(tmp_path: Path) -> None:
    rows = [{"image": "a.png", "report": "Clear lungs."}]
    run(write_table(tmp_path, rows), tmp_path / "data")
    dataset = StudyDataset.open(tmp_path / "data")
    assert dataset.label_names == ()
    assert dataset.labels().shape == (1, 0)


def test_text_columns(folder: Path) -> None:
    dataset = StudyDataset.open(folder)
    assert dataset.column("patient_id").tolist() == [f"p{n // 2}" for n in range(8)]


def test_it_pickles_as_its_folder(folder: Path) -> None:
    dataset = StudyDataset.open(folder)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert again.row(3) == dataset.row(3)
    assert np.array_equal(again.pixels(3), film(3))


def test_verify_reads_everything(folder: Path, copy: Path) -> None:
    StudyDataset.open(folder).verify()
    shard = copy / "shard-00001.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match=r"shard-00001\.arrow is damaged .*hash"):
        StudyDataset.open(copy).verify()


@pytest.mark.parametrize("damage", ["cut", "grown", "gone", "garbage", "rows"])
def test_damaged_shards_are_refused(copy: Path, damage: str) -> None:
    shard = copy / "shard-00001.arrow"
    content = shard.read_bytes()
    if damage == "gone":
        shard.unlink()
    elif damage == "rows":
        info = json.loads((copy / "dataset.json").read_text())
        info["shards"][1]["rows"] = 4
        (copy / "dataset.json").write_text(json.dumps(info))
    else:
        changed = {"cut": content[:-8], "grown": content + b"x", "garbage": b"\1" * len(content)}
        shard.write_bytes(changed[damage])
    with pytest.raises(DataError, match=r"shard-00001\.arrow is damaged or was changed: .*--overwrite"):
        StudyDataset.open(copy)


def test_no_dataset_folder_tells_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no dataset folder .*mmil preprocess SOURCE --out"):
        StudyDataset.open(tmp_path)
    (tmp_path / ".data.partial").mkdir()
    with pytest.raises(DataError, match="an unfinished one lies beside it"):
        StudyDataset.open(tmp_path / "data")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is damaged"), ('{"format": 1}', "is damaged"), ('{"format": 9}', "another version")],
)
def test_a_damaged_dataset_json(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=message):
        StudyDataset.open(tmp_path)


def test_source_rows_keep_their_order(tmp_path: Path) -> None:
    rows = table_rows(5)[::-1]
    write_table(tmp_path, rows)
    run(write_csv(tmp_path / "films.csv", rows), tmp_path / "data", workers=1)
    assert StudyDataset.open(tmp_path / "data").column("image_id").tolist() == ["i4", "i3", "i2", "i1", "i0"]
