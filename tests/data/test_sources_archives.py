"""What is particular to the archives with tables of their own."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import (
    write_chexpert,
    write_chexpert_plus,
    write_nih,
    write_padchest,
    write_parquet,
    write_roco,
    write_roco_first,
    write_rsna,
    write_vindr,
    write_vindr_kaggle,
)
from source_files import table_rows, write_table

from mmil_cli.data.manifest import Manifest
from mmil_cli.data.reports import parse_report, report_sentences
from mmil_cli.data.sources.find import find_records
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.tables import read_table
from mmil_cli.errors import DataError


def find(path: Path, **options: object) -> Manifest:
    return find_records(path, SourceOptions(**options))  # type: ignore[arg-type]


def labels(manifest: Manifest, place: int) -> dict[str, int | None]:
    return dict(zip(manifest.label_names, manifest.records[place].labels, strict=True))


def sentences(manifest: Manifest, place: int) -> list[str]:
    return report_sentences(parse_report(manifest.records[place].report or ""))


def test_parquet_says_what_csv_says(tmp_path: Path) -> None:
    expected = find(write_table(tmp_path, table_rows(4)))
    assert find(write_parquet(tmp_path)).records == expected.records


def test_parquet_values_become_text(tmp_path: Path) -> None:
    path = tmp_path / "films.parquet"
    columns = {
        "flag": [True, None],
        "share": [1.5, float("nan")],
        "name": pa.array(["a", "a"]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), path)
    assert read_table(path).rows == (("1", "1.5", "a"), ("", "", "a"))


def test_parquet_with_pictures_inside_and_broken_parquet(tmp_path: Path) -> None:
    path = tmp_path / "films.parquet"
    pq.write_table(pa.table({"image": [{"bytes": b"x", "path": "a.png"}], "report": ["Clear."]}), path)
    with pytest.raises(DataError, match=r"columns image hold no plain values; .*write films as files"):
        find(path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"films\.parquet cannot be read as Parquet"):
        find(path)


def test_chexpert_with_reports(tmp_path: Path) -> None:
    manifest = find(write_chexpert_plus(tmp_path))
    first = manifest.records[0]
    assert (first.image_id, first.study_id, first.patient_id, first.split, first.view) == (
        "patient00001_study1_view1_frontal", "patient00001_study1", "patient00001", "train", "PA",
    )  # fmt: skip
    assert [record.view for record in manifest.records] == ["PA", "LATERAL", "PA", "PA"]
    assert manifest.records[3].split == "validate"
    found = labels(manifest, 0)
    assert (found["Edema"], found["Cardiomegaly"], found["Fracture"], found["Pneumonia"]) == (-1, 1, 0, None)
    assert sentences(manifest, 0) == ["The heart is large.", "No edema.", "Cardiomegaly."]
    assert sentences(manifest, 2) == ["Lines unchanged.", "Clear lungs."]
    assert not any("4711" in (record.report or "") for record in manifest.records)


def test_chexpert_plus_without_the_labels_of_chexpert(tmp_path: Path) -> None:
    write_chexpert_plus(tmp_path)
    for name in ("train.csv", "valid.csv"):
        (tmp_path / name).unlink()
    manifest = find(tmp_path)
    assert manifest.label_names == ()
    assert "no labels" in manifest.notes[0]


def test_films_of_chexpert_plus_may_be_png_elsewhere(tmp_path: Path) -> None:
    write_chexpert_plus(tmp_path / "tables")
    for film in sorted((tmp_path / "tables").rglob("*.jpg")):
        target = tmp_path / "PNG" / film.relative_to(tmp_path / "tables").with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        film.rename(target)
    manifest = find(tmp_path / "tables", root=tmp_path / "PNG")
    assert all(record.image and record.image.is_file() for record in manifest.records)


def test_chexpert_without_reports_says_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"only with CheXpert Plus \(df_chexpert_plus.*--reports.*--labels-only"
    ):
        find(write_chexpert(tmp_path))
    manifest = find(tmp_path, labels_only=True)
    assert [record.split for record in manifest.records] == ["train", "train", "train", "validate"]


def test_a_path_of_chexpert_that_leaves_the_folder(tmp_path: Path) -> None:
    table = write_chexpert(tmp_path) / "train.csv"
    table.write_text(table.read_text().replace("CheXpert-v1.0-small/train/", "../../", 1))
    with pytest.raises(DataError, match=r"train\.csv names a film"):
        find(tmp_path, labels_only=True)


def test_a_film_that_chexpert_names_twice(tmp_path: Path) -> None:
    table = write_chexpert(tmp_path) / "train.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    with pytest.raises(
        DataError, match=r"train\.csv: row 4 names CheXpert-v1\.0-small/train/\S+ a second time"
    ):
        find(tmp_path, labels_only=True)


def test_nih(tmp_path: Path) -> None:
    manifest = find(write_nih(tmp_path), labels_only=True)
    assert {name for name, label in labels(manifest, 0).items() if label} == {"Cardiomegaly", "Effusion"}
    assert manifest.records[1].image == tmp_path / "images_002/images/00000001_001.png"
    assert [record.patient_id for record in manifest.records] == ["1", "1", "2", "3"]
    assert len({record.study_id for record in manifest.records}) == 4
    splits = [record.split for record in manifest.records]
    assert splits[0] == splits[1] in ("train", "validate")
    assert splits[3] == "test"
    (tmp_path / "test_list.txt").unlink()
    assert {record.split for record in find(tmp_path, labels_only=True).records} == {None}


def test_nih_with_an_unknown_finding(tmp_path: Path) -> None:
    table = write_nih(tmp_path) / "Data_Entry_2017.csv"
    table.write_text(table.read_text().replace("Hernia", "Hernai"))
    with pytest.raises(DataError, match="holds 'Hernai'; the findings are Atelectasis"):
        find(tmp_path, labels_only=True)


def test_rsna_is_grouped_by_nihs_patients(tmp_path: Path) -> None:
    manifest = find(write_rsna(tmp_path), labels_only=True)
    assert [record.patient_id for record in manifest.records] == ["00000013", "00000013", "00000014"]
    assert [record.labels for record in manifest.records] == [(1, 0), (0, 1), (0, 0)]
    assert manifest.notes == ()
    (tmp_path / "pneumonia-challenge-dataset-mappings_2018.json").unlink()
    alone = find(tmp_path, labels_only=True)
    assert len({record.patient_id for record in alone.records}) == 3
    assert "counts as a patient" in alone.notes[0]


def test_rsna_with_contradicting_rows_or_a_broken_mapping(tmp_path: Path) -> None:
    mapping = write_rsna(tmp_path) / "pneumonia-challenge-dataset-mappings_2018.json"
    mapping.write_text('{"subset": 1}')
    with pytest.raises(DataError, match="not RSNA's list"):
        find(tmp_path, labels_only=True)
    mapping.unlink()
    table = tmp_path / "stage_2_train_labels.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, "bb-02,,,,,1"]))
    with pytest.raises(DataError, match=r"gives one film both 0 and 1 as Target, the latter in row 5"):
        find(tmp_path, labels_only=True)


def test_vindr_counts_what_radiologists_said(tmp_path: Path) -> None:
    manifest = find(write_vindr(tmp_path), labels_only=True)
    assert manifest.label_names == ("Cardiomegaly", "Nodule/Mass")
    assert [record.labels for record in manifest.records] == [(1, 0), (0, -1), (0, 0), (1, 0)]
    assert manifest.records[3].split == "test"
    assert {record.split for record in manifest.records[:3]} <= {"train", "validate"}


def test_vindr_of_kaggle(tmp_path: Path) -> None:
    manifest = find(write_vindr_kaggle(tmp_path), labels_only=True)
    assert manifest.label_names == ("Cardiomegaly", "No finding")
    assert [record.labels for record in manifest.records] == [(1, -1), (-1, 1)]
    assert {record.split for record in manifest.records} == {None}


def test_padchest(tmp_path: Path) -> None:
    manifest = find(write_padchest(tmp_path))
    assert manifest.label_names == ("nodule", "normal", "pleural effusion")
    assert [record.labels for record in manifest.records] == [(0, 1, 0), (0, 1, 0), (1, 0, 1), (None,) * 3]
    assert [record.view for record in manifest.records] == ["PA", "LATERAL", "AP_horizontal", "PA"]
    assert sentences(manifest, 0) == ["corazon normal.", "sin derram pleural."]
    table = next(tmp_path.glob("*.csv"))
    table.write_text(table.read_text().replace("['exclude']", "__import__('os')"))
    with pytest.raises(DataError, match="Labels of row 4 is no list of names"):
        find(tmp_path)


@pytest.mark.parametrize("write", [write_roco, write_roco_first])
def test_roco(tmp_path: Path, write: object) -> None:
    manifest = find(write(tmp_path))  # type: ignore[operator]
    assert [record.split for record in manifest.records] == ["train", "validate", "test"]
    assert all(record.image and record.image.is_file() for record in manifest.records)
    assert all(len(sentences(manifest, place)) == 1 for place in range(3))
