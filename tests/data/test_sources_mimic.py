import shutil
from pathlib import Path

import pytest
from source_files import write_csv, write_mimic, write_png

from mmil_cli.data.manifest import Manifest, check_manifest
from mmil_cli.data.sources.find import find_records
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.errors import DataError, UsageError


def find(path: Path, **options: object) -> Manifest:
    manifest = find_records(path, SourceOptions(**options))  # type: ignore[arg-type]
    check_manifest(manifest)
    return manifest


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_tree_with_its_tables(tmp_path: Path, suffix: str) -> None:
    manifest = find(write_mimic(tmp_path, suffix=suffix))
    assert manifest.kind == "mimic"
    assert [record.image_id for record in manifest.records] == [
        f"0000000{number}-film" for number in range(6)
    ]
    record = manifest.records[0]
    assert (record.patient_id, record.study_id, record.split, record.view) == (
        "10000032",
        "50414267",
        "train",
        "AP",
    )
    assert record.report_path == tmp_path / "files/p10/p10000032/s50414267.txt"
    assert manifest.label_names == ("Edema", "No Finding", "Pleural Effusion")
    assert record.labels == (None, 1, -1)
    assert manifest.notes == ()


def test_the_files_folder_finds_the_tables_beside_it(tmp_path: Path) -> None:
    assert find(write_mimic(tmp_path) / "files").records == find(tmp_path).records


def test_tables_and_reports_may_lie_elsewhere(tmp_path: Path) -> None:
    """The usual case: films and CSVs of MIMIC-CXR-JPG, reports of MIMIC-CXR."""
    root = write_mimic(tmp_path / "jpg")
    tables, reports = tmp_path / "tables", tmp_path / "reports"
    tables.mkdir()
    for table in root.glob("*.csv.gz"):
        table.rename(tables / table.name)
    for report in sorted(root.rglob("*.txt")):
        target = reports / report.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        report.rename(target)
    manifest = find(root, tables=tables, reports=reports)
    assert manifest.label_names
    assert all(record.report_path and record.report_path.is_file() for record in manifest.records)


def test_another_version_of_the_tables_wins_by_being_newer(tmp_path: Path) -> None:
    write_mimic(tmp_path)
    write_csv(tmp_path / "mimic-cxr-2.1.0-split.csv", [{"dicom_id": "00000000-film", "split": "test"}])
    splits = {record.image_id: record.split for record in find(tmp_path).records}
    assert splits["00000000-film"] == "test"
    assert splits["00000001-film"] is None


def test_without_tables_there_are_no_splits_and_a_note(tmp_path: Path) -> None:
    manifest = find(write_mimic(tmp_path, tables=False))
    assert {record.split for record in manifest.records} == {None}
    assert manifest.label_names == ()
    assert "CSVs only with the JPG release" in manifest.notes[0]


def test_films_may_be_jpg_and_dicom_goes_before_it(tmp_path: Path) -> None:
    write_mimic(tmp_path)
    folder = tmp_path / "files/p11/p11000183/s51967845"
    write_png(folder / "00000005-film.jpg", 1)
    write_png(folder / "other.jpg", 1)
    (folder / "index.html").write_text("not a film")
    names = [
        record.image.name for record in find(tmp_path).records if record.image and "s519" in str(record.image)
    ]
    assert names == ["00000005-film.dcm", "other.jpg"]


def test_no_report_at_all_tells_where_they_come_from(tmp_path: Path) -> None:
    write_mimic(tmp_path)
    for report in tmp_path.rglob("*.txt"):
        report.unlink()
    with pytest.raises(DataError, match=r"reports come only with the DICOM release.*--reports"):
        find(tmp_path)


def test_no_table_where_they_were_said_to_be(tmp_path: Path) -> None:
    write_mimic(tmp_path / "root", tables=False)
    (tmp_path / "tables").mkdir()
    with pytest.raises(DataError, match=r"holds no CSV such as .*CSVs only with the JPG release"):
        find(tmp_path / "root", tables=tmp_path / "tables")


def test_films_that_the_split_table_lacks_and_the_other_way_round(tmp_path: Path) -> None:
    write_mimic(tmp_path)
    shutil.rmtree(tmp_path / "files/p11")
    manifest = find(tmp_path)
    assert manifest.notes == ("1 images of mimic-cxr-2.0.0-split.csv.gz are not on disk",)


def test_a_table_without_its_column(tmp_path: Path) -> None:
    write_mimic(tmp_path, tables=False)
    write_csv(tmp_path / "mimic-cxr-2.0.0-split.csv", [{"dicom": "a", "split": "train"}])
    with pytest.raises(DataError, match="no column 'dicom_id'; did you mean 'dicom'"):
        find(tmp_path)


def test_an_unknown_label_value(tmp_path: Path) -> None:
    write_mimic(tmp_path, suffix=".csv")
    path = tmp_path / "mimic-cxr-2.0.0-chexpert.csv"
    path.write_text(path.read_text().replace("-1.0", "perhaps", 1))
    with pytest.raises(DataError, match="'Pleural Effusion' holds 'perhaps' in 1 rows, first in row 1"):
        find(tmp_path)


def test_a_patient_in_two_splits(tmp_path: Path) -> None:
    write_mimic(tmp_path, suffix=".csv")
    path = tmp_path / "mimic-cxr-2.0.0-split.csv"
    path.write_text(path.read_text().replace("train", "test", 1))
    with pytest.raises(DataError, match=r"patients in more than one split: 1 \(10000032 \(test, train\)\)"):
        find(tmp_path)


def test_options_of_tables_are_refused(tmp_path: Path) -> None:
    write_mimic(tmp_path)
    with pytest.raises(UsageError, match=r"--labels is no option of a MIMIC-CXR tree; it belongs to: table"):
        find(tmp_path, labels=("Edema",))
