import tarfile
from pathlib import Path

import pytest
from archives import openi_xml, write_openi_csv, write_openi_xml
from source_files import write_png

from mmil_cli.data.manifest import Manifest
from mmil_cli.data.reports import parse_report, report_sentences
from mmil_cli.data.sources.find import find_records
from mmil_cli.data.sources.openi import LABEL_NAMES
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.errors import DataError


def find(path: Path, **options: object) -> Manifest:
    return find_records(path, SourceOptions(**options))  # type: ignore[arg-type]


def labels_of(manifest: Manifest, place: int) -> set[str]:
    return {
        name for name, label in zip(LABEL_NAMES, manifest.records[place].labels, strict=True) if label == 1
    }


@pytest.mark.parametrize("suffix", [".png", ".dcm"])
def test_the_xml_form(tmp_path: Path, suffix: str) -> None:
    manifest = find(write_openi_xml(tmp_path, suffix=suffix))
    assert [record.image_id for record in manifest.records] == [
        "CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001", "CXR2_IM-0652-1001",
    ]  # fmt: skip
    first = manifest.records[0]
    assert (first.study_id, first.patient_id) == ("CXR1", "CXR1")
    assert all(record.image and record.image.is_file() for record in manifest.records)
    assert first.report is not None
    assert report_sentences(parse_report(first.report)) == ["No effusion.", "Film 1 is read."]
    assert [section.name for section in parse_report(first.report)] == [
        "comparison", "indication", "findings", "impression",
    ]  # fmt: skip
    assert labels_of(manifest, 0) == {"normal"}
    assert labels_of(manifest, 2) == {"Pleural Effusion"}
    assert manifest.notes == ("1 reports name no image and are not in the dataset (10.xml)",)


def test_the_csv_form(tmp_path: Path) -> None:
    manifest = find(write_openi_csv(tmp_path))
    first = manifest.records[0]
    assert (first.image_id, first.study_id, first.view) == ("1_IM-0001-4001", "1", "Frontal")
    assert first.image == tmp_path / "images/images_normalized/1_IM-0001-4001.dcm.png"
    assert labels_of(manifest, 2) == {"Cardiomegaly", "Opacity"}
    assert set(manifest.records[3].labels) == {None}
    texts = [report_sentences(parse_report(record.report or "")) for record in manifest.records]
    assert texts[0] == ["The heart is normal.", "No effusion.", "Normal."]
    assert texts[2:] == [["Mild cardiomegaly."], []]


def test_films_elsewhere(tmp_path: Path) -> None:
    write_openi_xml(tmp_path / "all")
    (tmp_path / "all/NLMCXR_png").rename(tmp_path / "films")
    with pytest.raises(DataError, match=r"holds no film.*NLMCXR_png\.tgz.*--root"):
        find(tmp_path / "all")
    manifest = find(tmp_path / "all", root=tmp_path / "films")
    assert all(record.image and record.image.is_file() for record in manifest.records)


def test_one_table_of_the_two(tmp_path: Path) -> None:
    (write_openi_csv(tmp_path) / "indiana_projections.csv").unlink()
    with pytest.raises(DataError, match=r"lacks indiana_projections\.csv; the folder of"):
        find(tmp_path)


def test_codes_with_a_comma_are_turned_round(tmp_path: Path) -> None:
    """Labels are named between commas in commands."""
    write_openi_xml(tmp_path)
    (tmp_path / "ecgen-radiology/2.xml").write_text(openi_xml(2, ["CXR2_x"], major="Hernia, Hiatal/large"))
    assert labels_of(find(tmp_path), 2) == {"Hiatal Hernia"}
    assert not any("," in name for name in LABEL_NAMES)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "content",
    [
        openi_xml(5, ["CXR5_x"])[:200],
        "",
        "<other/>",
        openi_xml(5, ["CXR5_x"]).replace("<eCitation>", BOMB + "<eCitation>"),
        "\0\0\0",
    ],
    ids=["cut off", "empty", "another root", "a bomb of entities", "null bytes"],
)
def test_a_broken_report_is_one_record_with_its_reason(tmp_path: Path, content: str) -> None:
    write_openi_xml(tmp_path)
    (tmp_path / "ecgen-radiology/5.xml").write_text(content)
    manifest = find(tmp_path)
    faulty = [record for record in manifest.records if record.fault]
    assert len(manifest.records) == 4
    assert [record.image_id for record in faulty] == ["xml-5"]
    assert faulty[0].fault is not None
    assert faulty[0].fault[0] == "unreadable-report"
    assert "5.xml" in faulty[0].fault[1]


def test_the_real_reports_are_all_read(tmp_path: Path, shared_data: Path) -> None:
    """3,955 reports name 7,470 images, 104 none; the films are made up, so two stand for all."""
    with tarfile.open(shared_data / "openi_reports/NLMCXR_reports.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    for number, name in enumerate(("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001")):
        write_png(tmp_path / "NLMCXR_png" / f"{name}.png", number)
    manifest = find(tmp_path)
    assert len(manifest.records) == 7470
    assert len({record.image_id for record in manifest.records}) == 7470
    assert len({record.study_id for record in manifest.records}) == 3955 - 104
    assert not any(record.fault for record in manifest.records)
    assert manifest.notes[0].startswith("104 reports name no image")
    assert sum(record.image is not None and record.image.is_file() for record in manifest.records) == 2
