from pathlib import Path

import pytest
from source_files import table_rows, write_csv, write_table

from mmil_cli.data.exclusion import ID_COLUMNS, exclude
from mmil_cli.data.manifest import Manifest
from mmil_cli.data.sources.find import find_records
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.errors import DataError, UsageError

MEANT = {"image_id": ("i3", ["i3"]), "study_id": ("s3", ["i3"]), "patient_id": ("p1", ["i2", "i3"])}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Six films, two a patient."""
    return find_records(write_table(tmp_path / "source", table_rows(6)), SourceOptions())


def excluded(manifest: Manifest) -> list[str]:
    return [record.image_id for record in manifest.records if record.excluded]


@pytest.mark.parametrize(("text", "images"), MEANT.values(), ids=list(MEANT))
def test_a_line_names_an_image_a_study_or_a_patient(
    manifest: Manifest, tmp_path: Path, text: str, images: list[str]
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"\n  {text} \r\n\n")
    after = exclude(manifest, path)
    assert excluded(after) == images
    assert [record.image_id for record in after.records] == [record.image_id for record in manifest.records]
    assert after.notes == manifest.notes


@pytest.mark.parametrize("column", list(ID_COLUMNS))
def test_a_table_says_what_its_ids_are(manifest: Manifest, tmp_path: Path, column: str) -> None:
    text, images = MEANT[ID_COLUMNS[column]]
    path = write_csv(tmp_path / "list.csv", [{"category": "Edema", column: text}] * 2)
    assert excluded(exclude(manifest, path)) == images


def test_ids_of_another_level_of_a_table_exclude_nothing(manifest: Manifest, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "list.csv", [{"study_id": "i3"}])
    with pytest.raises(UsageError, match=r"none of the 1 ids .*image i0, study s0, patient p0"):
        exclude(manifest, path)


def test_unknown_ids_are_told(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("i1\nx1\nx2\n")
    after = exclude(manifest, path)
    assert excluded(after) == ["i1"]
    assert after.notes[-1] == "--exclude: 2 of 3 ids of list.txt are not in this source (x1, x2)"


def test_what_is_excluded_is_among_the_options(manifest: Manifest, tmp_path: Path) -> None:
    options = set()
    for text in ("i1\n", "i2\n", "i1\ni2\n", "i2\ni1\ni1"):
        (tmp_path / "list.txt").write_text(text)
        options.add(exclude(manifest, tmp_path / "list.txt").options)
    assert len(options) == 3


def test_an_id_of_two_meanings_is_refused(tmp_path: Path) -> None:
    rows = [{**row, "study_id": f"{n}", "patient_id": f"{n // 2}"} for n, row in enumerate(table_rows(6))]
    manifest = find_records(write_table(tmp_path, rows), SourceOptions())
    path = tmp_path / "list.txt"
    path.write_text("1\n")
    with pytest.raises(UsageError, match=r"1 of .* are ids of different things .* column says which"):
        exclude(manifest, path)
    assert excluded(exclude(manifest, write_csv(tmp_path / "list.csv", [{"subject_id": 1}]))) == ["i2", "i3"]


def test_an_id_that_names_the_same_films_twice_is_clear(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "study_id"} for row in table_rows(4)]
    manifest = find_records(write_table(tmp_path, rows), SourceOptions())
    path = tmp_path / "list.txt"
    path.write_text("i1\n")
    assert excluded(exclude(manifest, path)) == ["i1"]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("none.txt", None, UsageError, "no file"),
        ("blank.txt", b" \n\n", UsageError, "names no id"),
        ("two.csv", b"image_id,study_id\ni1,s1\n", UsageError, "has the columns image_id, study_id; leave"),
        ("other.csv", b"label\n1\n", UsageError, "has no column of ids"),
        ("latin.txt", "\xe4".encode("latin-1"), DataError, "UTF-8"),
        ("lfs.txt", b"version https://git-lfs.github.com/spec/v1\noid x\n", DataError, "git lfs pull"),
    ],
)
def test_lists_that_cannot_be_used(
    manifest: Manifest, tmp_path: Path, name: str, content: bytes | None, error: type[Exception], message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        exclude(manifest, tmp_path / name)
