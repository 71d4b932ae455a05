from pathlib import Path

import pytest
from archives import concept, container, structured_report, text_item, write_dicom_folder
from pydicom import Dataset, dcmread
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage
from source_files import write_csv, write_dicom

from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.reports import parse_report, report_sentences
from mmil_cli.data.sources.find import find_records
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.structured_reports import structured_text
from mmil_cli.errors import DataError
from mmil_cli.stages.preprocess import run

SECRETS = (b"Lovelace", b"MRN081", b"ACC4711", b"18151210", b"20200102", b"1.2.9.", b"1.2.8.")


def find(path: Path, **options: object) -> Manifest:
    return find_records(path, SourceOptions(**options))  # type: ignore[arg-type]


def by_file(manifest: Manifest) -> dict[str, Record]:
    return {record.image.name: record for record in manifest.records if record.image}


def text(record: Record) -> str:
    return record.report if record.report is not None else record.report_path.read_text()  # type: ignore[union-attr]


def test_reports_of_three_kinds_find_their_films(tmp_path: Path) -> None:
    records = by_file(find(write_dicom_folder(tmp_path)))
    assert list(records) == ["IM1.dcm", "IM2", "IM3.dcm", "IM4.dcm"]
    assert "small effusion" in text(records["IM1.dcm"])
    assert records["IM1.dcm"].report_path == records["IM2"].report_path
    assert text(records["IM3.dcm"]) == "FINDINGS: The effusion is gone.\n"
    assert text(records["IM4.dcm"]) == "FINDINGS:\nNo pneumothorax."


def test_studies_and_patients(tmp_path: Path) -> None:
    records = by_file(find(write_dicom_folder(tmp_path)))
    assert records["IM1.dcm"].study_id == records["IM2"].study_id != records["IM3.dcm"].study_id
    assert records["IM1.dcm"].patient_id == records["IM3.dcm"].patient_id != records["IM4.dcm"].patient_id


def test_a_later_study_changes_no_name(tmp_path: Path) -> None:
    before = find(write_dicom_folder(tmp_path)).records
    write_dicom(
        tmp_path / "a/visit0/IM9.dcm", 9, StudyInstanceUID="1.1", PatientID="MRN0815", StudyDate="20220101"
    )
    (tmp_path / "a/visit0/r.txt").write_text("FINDINGS: Clear.")
    after = {record.image_id: record for record in find(tmp_path).records}
    assert len(after) == len(before) + 1
    assert all(after[record.image_id] == record for record in before)


def test_nothing_of_the_header_reaches_dataset_notes_or_names(tmp_path: Path) -> None:
    source = write_dicom_folder(tmp_path / "source")
    (source / "texts/ACC4711.txt").rename(source / "a/visit2/report.txt")
    (source / "b/SR1.dcm").unlink()  # IM4 has no report now, so that a rejection is told too
    result = run(source, tmp_path / "data")
    assert result.info.rejected == {"missing-report": 1}
    told = "\n".join(result.notes).encode() + repr(find(source)).encode()
    written = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    for secret in SECRETS:
        assert secret not in written
        assert secret not in told


def test_a_table_of_reports_by_accession_number_or_study(tmp_path: Path) -> None:
    source = write_dicom_folder(tmp_path / "source")
    for report in [*source.rglob("*.txt"), source / "b/SR1.dcm"]:
        report.unlink()
    rows = [
        {"Accession Number": "ACC4711", "StudyInstanceUID": "", "Report": "FINDINGS: Third."},
        {"Accession Number": "", "StudyInstanceUID": "1.2.9.11", "Report": "FINDINGS: First."},
        {"Accession Number": "unknown", "StudyInstanceUID": "", "Report": "FINDINGS: Nobody's."},
    ]
    manifest = find(source, reports=write_csv(tmp_path / "reports.csv", rows))
    records = by_file(manifest)
    assert [records[name].report for name in ("IM1.dcm", "IM2", "IM3.dcm")] == [
        "FINDINGS: First.", "FINDINGS: First.", "FINDINGS: Third.",
    ]  # fmt: skip
    assert records["IM4.dcm"].fault is not None
    assert "1 rows of reports.csv belong to no film" in manifest.notes
    write_csv(tmp_path / "reports.csv", [{"Patient": "x", "Report": "Clear."}])
    with pytest.raises(
        DataError, match=r"needs a column StudyInstanceUID or AccessionNumber.*Patient, Report"
    ):
        find(source, reports=tmp_path / "reports.csv")


def test_reports_in_a_tree_of_their_own(tmp_path: Path) -> None:
    source = write_dicom_folder(tmp_path / "source")
    for place in ("a/visit1/report.txt", "texts/ACC4711.txt"):
        (source / place).unlink()
    reports = tmp_path / "reports"
    (reports / "a").mkdir(parents=True)
    (reports / "a/visit1.txt").write_text("FINDINGS: By the study's folder.")
    (reports / "1.2.9.12.txt").write_text("FINDINGS: By the study's UID.")
    (reports / "b").mkdir()
    (reports / "b/IM4.txt").write_text("FINDINGS: By the film's name.")
    (reports / "stray.txt").write_text("FINDINGS: Nobody's.")
    manifest = find(source, reports=reports)
    records = by_file(manifest)
    assert "study's folder" in text(records["IM1.dcm"])
    assert "study's UID" in text(records["IM3.dcm"])
    assert report_sentences(parse_report(text(records["IM4.dcm"]))) == [
        "No pneumothorax.",
        "By the film's name.",
    ]
    assert set(manifest.notes) == {
        "1 files of text belong to no film",
        "1 studies have several reports, which are read as one",
    }


def test_a_text_among_films_of_several_studies_is_nobodys(tmp_path: Path) -> None:
    for number in (1, 2):
        write_dicom(
            tmp_path / f"x/IM{number}.dcm", number, StudyInstanceUID=f"1.{number}", AccessionNumber=""
        )
    (tmp_path / "x/report.txt").write_text("FINDINGS: Whose?")
    with pytest.raises(DataError, match=r"no report belongs to any of the 2 films.*AccessionNumber.*\(SR\)"):
        find(tmp_path)


def test_films_without_a_study_share_no_report(tmp_path: Path) -> None:
    for number in (1, 2):
        write_dicom(tmp_path / f"IM{number}.dcm", number)
    (tmp_path / "IM1.txt").write_text("FINDINGS: Of the first.")
    records = by_file(find(tmp_path))
    assert records["IM1.dcm"].report_path == tmp_path / "IM1.txt"
    assert records["IM2.dcm"].fault is not None
    assert records["IM1.dcm"].study_id != records["IM2.dcm"].study_id


def test_copies_other_objects_and_broken_headers_are_counted(tmp_path: Path) -> None:
    source = write_dicom_folder(tmp_path / "source")
    (source / "b/copy.dcm").write_bytes((source / "b/IM4.dcm").read_bytes())
    state = dcmread(source / "b/IM4.dcm")
    del state.PixelData, state.Rows, state.Columns
    state.SOPInstanceUID, state.Modality = "1.2.8.99", "PR"
    state.SOPClassUID = state.file_meta.MediaStorageSOPClassUID = GrayscaleSoftcopyPresentationStateStorage
    state.save_as(source / "b/state.dcm", enforce_file_format=True)
    (source / "b/broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0\xff" * 3)
    (source / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    manifest = find(source)
    assert manifest.notes == (
        "1 DICOM objects are neither films nor reports and are left alone",
        "1 DICOM files are copies of others (the same instance UID) and are left alone",
        "1 DICOM files have no readable header (broken.dcm)",
    )
    assert len(manifest.records) == 5
    result = run(source, tmp_path / "data")
    assert result.info.num_rows == 4
    assert result.info.rejected == {"unreadable": 1}


def report_of(*items: Dataset) -> str:
    root = Dataset()
    root.ValueType, root.ContentSequence = "CONTAINER", list(items)
    return structured_text(root)


def measured(meaning: str, value: str, unit: str) -> Dataset:
    item, amount = Dataset(), Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "NUM"
    item.ConceptNameCodeSequence = concept("1", meaning, "99X")
    amount.NumericValue, amount.MeasurementUnitsCodeSequence = value, concept(unit, unit, "UCUM")
    item.MeasuredValueSequence = [amount]
    return item


def test_a_structured_report_reads_in_order() -> None:
    text = report_of(
        text_item("121060", "History", "Cough."),
        container("121070", "Constatations", [
            text_item("121071", "Constatation", "Épanchement à gauche."), measured("Diameter", "1.5", "cm"),
        ]),
        text_item("X1", "Impression", "Effusion.", RelationshipType="CONTAINS"),
    )  # fmt: skip
    assert (
        text
        == "HISTORY:\nCough.\n\nFINDINGS:\nÉpanchement à gauche.\nDiameter: 1.5 cm.\n\nIMPRESSION:\nEffusion."
    )


def test_a_structured_report_never_tells_people_or_unknown_parts() -> None:
    person = Dataset()
    person.RelationshipType, person.ValueType, person.PersonName = "CONTAINS", "PNAME", "Lovelace^Ada"
    person.ConceptNameCodeSequence = concept("121008", "Person Observer Name")
    text = report_of(
        text_item("Z9", "Patient Address", "1 Lovelace Lane"),
        text_item("121070", "Findings", "By Dr Lovelace", RelationshipType="HAS OBS CONTEXT"),
        container("121070", "Findings", [person, text_item("121071", "Finding", "Clear.")]),
    )
    assert text == "FINDINGS:\nClear."
    assert report_of(text_item("Z9", "Patient Address", "1 Lovelace Lane")) == ""


@pytest.mark.parametrize(("code", "meaning"), [("IHE.09", "Report Text"), ("X", "Narrative")])
def test_a_structured_report_in_one_piece(code: str, meaning: str) -> None:
    whole = "INDICATION: Cough.\nFINDINGS: Clear.\nIMPRESSION: Normal."
    text = report_of(container("IHE.08", "Section Heading", [text_item(code, meaning, whole)]))
    assert report_sentences(parse_report(text)) == ["Clear.", "Normal."]


def test_a_structured_report_nested_without_end_is_cut(tmp_path: Path) -> None:
    item = text_item("121071", "Finding", "deepest")
    for _ in range(60):
        item = container("121070", "Findings", [item])
    assert report_of(item) == ""
    path = structured_report(tmp_path / "sr.dcm", [item], StudyInstanceUID="1.2")
    write_dicom(tmp_path / "im.dcm", 1, StudyInstanceUID="1.2")
    with pytest.raises(DataError, match="1 structured reports have no text under a heading that is known"):
        find(path.parent)
