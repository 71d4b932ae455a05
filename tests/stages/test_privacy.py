"""Unique marks in everything that could name a patient, and no byte of them in anything that comes out."""

import csv
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from archives import container, structured_report, text_item
from pydicom import Dataset, dcmread
from pydicom.datadict import DicomDictionary, keyword_for_tag
from source_files import table_rows, write_csv, write_dicom, write_table
from typer.testing import CliRunner

from mmil_cli.cli.app import app
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import UsageError

MARK = "ZQX7"
"""Begins every mark; it stands in no other text."""

DATE, ISO_DATE, TIME = "19471113", "1947-11-13", "174359"
UID = "1.2.826.0.1.947."
KEY = "only a test's key, but a long one indeed"
_TEXTS = {"PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE"}
_MARKED_VR = {
    **dict.fromkeys(_TEXTS, MARK),
    "DA": DATE,
    "TM": TIME,
    "DT": DATE + TIME,
    "AS": "073Y",
    "UI": UID,
}
_NEEDED = {"SOPClassUID", "TransferSyntaxUID", "MediaStorageSOPClassUID", "SpecificCharacterSet", "CodeValue"}
"""What the file cannot be read without, and codes that say which part of a report an item is."""


def mark(dataset: Dataset) -> Dataset:
    """Every attribute of the standard that is text, a date, a time or a UID, with a mark of its own."""
    for tag, (vr, multiplicity, _, retired, keyword) in DicomDictionary.items():
        skipped = not keyword or keyword in _NEEDED or keyword in dataset or tag >> 16 <= 2
        if skipped or retired or vr not in _MARKED_VR or multiplicity.startswith(("2", "3", "4", "6")):
            continue
        value = _MARKED_VR[vr]
        told = {"UI": f"{value}{tag % 99991}", "AE": f"{value}{tag:x}"[:16], "SH": f"{value}{tag:x}"}
        setattr(
            dataset, keyword, told.get(vr, value if vr in ("DA", "TM", "DT", "AS") else f"{value}^{tag:x}")
        )
    block = dataset.private_block(0x0011, f"{MARK}PRIVATE", create=True)
    block.add_new(0x01, "LO", f"{MARK}private")
    block.add_new(0x02, "UN", f"{MARK}unknown".encode())
    person = Dataset()
    person.PersonName, person.InstitutionName, person.CodeMeaning = f"{MARK}^N", f"{MARK} I", f"{MARK} code"
    for keyword in ("RequestAttributesSequence", "OtherPatientIDsSequence", "ReferencedStudySequence",
                    "PhysiciansOfRecordIdentificationSequence"):  # fmt: skip
        setattr(dataset, keyword, [person])
    return dataset


def hospital(root: Path) -> Path:
    """Films whose headers, folders and files name their patients; some cannot be used, each for a reason."""
    for number in range(6):
        study = {"StudyInstanceUID": f"{UID}{number // 2}.1", "SOPInstanceUID": f"{UID}{number}.2",
                 "PatientID": f"{MARK}MRN{number // 4}", "AccessionNumber": f"{MARK}ACC{number // 2}",
                 "StudyDate": DATE, "StudyTime": TIME, "PatientName": f"{MARK}^Ada",
                 "ViewPosition": ("PA", f"PA {MARK}")[number % 2]}  # fmt: skip
        path = write_dicom(root / f"{MARK}_Ada_{number // 2}" / f"{MARK}{number}.dcm", number, **study)
        mark(dcmread(path)).save_as(path)
    folder = root / f"{MARK}_Ada_0"
    (folder / f"{MARK}report.txt").write_text("FINDINGS: A small effusion.\n")
    structured_report(
        root / f"{MARK}_Ada_1" / f"{MARK}sr.dcm",
        [container("121070", "Findings", [text_item("121071", "Finding", "No pneumothorax.")]),
         text_item("121008", "Person Observer Name", f"{MARK}^Observer"),
         text_item("121023", "Procedure Study Instance UID", UID)],
        StudyInstanceUID=f"{UID}1.1", PatientID=f"{MARK}MRN0", PatientName=f"{MARK}^Ada",
        AccessionNumber=f"{MARK}ACC1",
    )  # fmt: skip
    data = (folder / f"{MARK}0.dcm").read_bytes()
    (folder / f"{MARK}cut.dcm").write_bytes(data[:-700].replace(f"{UID}0.2".encode(), f"{UID}8.2".encode()))
    (folder / f"{MARK}header.dcm").write_bytes(data[:300])
    (folder / f"{MARK}nowindow.dcm").write_bytes(data.replace(b"WW\x00\x00", b"DS\x00\x00", 1))
    flat = dcmread(folder / f"{MARK}1.dcm")
    flat.PixelData, flat.SOPInstanceUID = bytes(len(flat.PixelData)), f"{UID}99"
    flat.save_as(folder / f"{MARK}flat.dcm")
    return root


def everything(folder: Path) -> Iterable[bytes]:
    """All bytes below a folder, those of films unpacked too."""
    for path in folder.rglob("*"):
        yield str(path.relative_to(folder)).encode()
        if path.is_file():
            yield path.read_bytes()
        if path.suffix == ".arrow":
            for batch in pa.ipc.open_stream(pa.memory_map(str(path))):
                rows = batch.to_pylist()
                yield from (unpacked(row.pop("image")["bytes"]) for row in rows)
                yield repr(rows).encode()


def unpacked(png: bytes) -> bytes:
    """The chunks of a PNG, whole, and the pixels within them."""
    start = png.index(b"IDAT") + 4
    return png + zlib.decompress(png[start : start + int.from_bytes(png[start - 8 : start - 4])])


def assert_unmarked(content: Iterable[bytes], *, files: bool) -> None:
    """No mark in any of it; without `files`, names of files are let through."""
    for data in content:
        found = data.decode("latin-1")
        for name in ("cut", "header", "flat", "nowindow", *"012345") if not files else ():
            found = found.replace(f"{MARK}_Ada_0/{MARK}{name}.dcm", "").replace(f"{MARK}{name}.dcm", "")
            found = found.replace(f"{MARK}_Ada_{name}/", "")
        for secret in (MARK, DATE, ISO_DATE, TIME, UID, KEY, "073Y", "Lovelace"):
            assert secret not in found, (secret, found[max(0, found.find(secret) - 60) :][:160])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o600)
    return path


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_marks_are_many(tmp_path: Path) -> None:
    """Else the search below would find nothing because nothing is there."""
    header = dcmread(next(hospital(tmp_path).rglob(f"{MARK}0.dcm")))
    marked = [element for element in header if MARK in str(element.value) or DATE in str(element.value)]
    assert len(marked) > 700
    for keyword in ("PatientName", "PatientBirthDate", "PatientAddress", "AccessionNumber", "InstitutionName",
                    "OtherPatientNames", "PatientTelephoneNumbers", "ReferringPhysicianName", "OperatorsName",
                    "DeviceSerialNumber", "StudyDescription", "ImageComments", "PatientAge"):  # fmt: skip
        assert keyword in header


@pytest.mark.parametrize("named", [True, False], ids=["pseudonyms", "plain"])
def test_no_mark_comes_out(tmp_path: Path, key: Path, named: bool) -> None:
    """Plain ids tell files in rejected.csv, which its owner asks for; a key hides those too."""
    source, out = hospital(tmp_path / "in"), tmp_path / "out" / "data"
    crosswalk = ("--pseudonymise", key, "--crosswalk", tmp_path / "crosswalk.csv")
    options = ("--workers", 1, "--study-days", "--max-rejected", 0.9, *(crosswalk if named else ()))
    result = command("preprocess", source, "--out", out, *options)
    assert result.exit_code == 0, result.output
    told = result.stdout.encode(), result.stderr.replace(str(tmp_path), "").encode()
    assert_unmarked([*told, *everything(tmp_path / "out")], files=named)
    info = json.loads((out / "dataset.json").read_text())
    assert info["rejected"]["missing-report"] == 2
    assert {"truncated", "unreadable", "blank"} & set(info["rejected"])
    if named:
        owner = {row["image_id"]: row["path"] for row in rows(tmp_path / "crosswalk.csv")}
        listed = [owner[row["image_id"]] for row in rows(out / "rejected.csv")]
        assert {place.rpartition("/")[2] for place in listed} >= {f"{MARK}cut.dcm", f"{MARK}flat.dcm"}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize(
    "option", [("--max-rejected", 0.0), ("--exclude", "list.txt"), ("--reports", "r.csv")]
)
def test_no_mark_stands_in_an_error(tmp_path: Path, key: Path, option: tuple[str, object]) -> None:
    (tmp_path / "list.txt").write_text("nobody\n")
    (tmp_path / "r.csv").write_text(f"AccessionNumber,report\n{MARK}other,Clear.\n")
    value = tmp_path / str(option[1]) if isinstance(option[1], str) else option[1]
    source = hospital(tmp_path / "in")
    if option[0] == "--reports":
        for text in (*source.rglob("*.txt"), *source.rglob("*sr.dcm")):
            text.unlink()
    result = command("preprocess", source, "--out", tmp_path / "out" / "data", "--workers", 1,
                     "--pseudonymise", key, option[0], value)  # fmt: skip
    assert result.exception is not None
    text = f"{result.output}{result.exception}".replace(str(tmp_path), "")
    assert_unmarked([text.encode(), *everything(tmp_path / "out")], files=True)


def test_the_marks_cover_what_the_standard_asks_to_hide() -> None:
    """A few of the basic de-identification profile (PS3.15, E), by their tags."""
    tags = (0x00100010, 0x00100030, 0x00101040, 0x00080050, 0x00080080, 0x00081070, 0x00321032, 0x00104000)
    assert all(DicomDictionary[tag][0] in _MARKED_VR and keyword_for_tag(tag) for tag in tags)


def test_a_subset_of_pseudonyms_is_kept_by_them(tmp_path: Path, key: Path) -> None:
    source = write_table(tmp_path, [{**row, "Edema": n % 2, "Nodule": 1 - n % 2, "patient_id": f"q{n}"}
                                    for n, row in enumerate(table_rows(12))])  # fmt: skip
    run = ("preprocess", source, "--pseudonymise", key, "--workers", 1)
    assert command(*run, "--out", tmp_path / "all").exit_code == 0
    findings = ("--findings", "Edema,Nodule", "--each", 1, "--out", tmp_path / "list.csv")
    split = max(json.loads((tmp_path / "all/dataset.json").read_text())["counts"].items(),
                key=lambda item: item[1]["images"])[0]  # fmt: skip
    assert command("subset", tmp_path / "all", "--split", split, *findings).exit_code == 0
    assert command(*run, "--out", tmp_path / "two", "--only", tmp_path / "list.csv").exit_code == 0
    drawn = {row["image_id"] for row in rows(tmp_path / "list.csv")}
    assert set(StudyDataset.open(tmp_path / "two").column("image_id")) == drawn
    assert len(drawn) == 2


def test_another_key_is_another_dataset(tmp_path: Path, key: Path) -> None:
    run = ("preprocess", write_table(tmp_path, table_rows(4)), "--out", tmp_path / "data", "--workers", 1)
    assert command(*run, "--pseudonymise", key).exit_code == 0
    assert "complete already" in command(*run, "--pseudonymise", key).stdout
    key.write_text(KEY[::-1])
    again = command(*run, "--pseudonymise", key)
    assert isinstance(again.exception, UsageError)
    assert "pseudonyms: " in str(again.exception)


def test_misplaced_crosswalks_are_refused(tmp_path: Path, key: Path) -> None:
    run = ("preprocess", write_table(tmp_path, table_rows(4)), "--out", tmp_path / "data", "--workers", 1)
    without = command(*run, "--crosswalk", tmp_path / "c.csv")
    assert "needs --pseudonymise KEYFILE" in str(without.exception)
    inside = command(*run, "--pseudonymise", key, "--crosswalk", tmp_path / "data" / "c.csv")
    assert "lies in the dataset folder" in str(inside.exception)
    assert not (tmp_path / "data").exists()


def test_films_with_burned_in_text_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    table = [{"image": f"{n}.dcm", "report": "Clear.", "image_id": n} for n in range(3)]
    for n, flag in enumerate(("YES", "NO", "YES")):
        write_dicom(tmp_path / f"{n}.dcm", n, BurnedInAnnotation=flag, PatientOrientation=["R", "F"])
    run = ("preprocess", write_csv(tmp_path / "t.csv", table), "--workers", 1, "--max-rejected", 0.9)
    assert "burned-in-annotation 2" in command(*run, "--out", tmp_path / "data").stdout
    assert [row["image_id"] for row in rows(tmp_path / "data/rejected.csv")] == ["0", "2"]
    assert "left out: none" in command(*run, "--out", tmp_path / "all", "--keep-burned-in").stdout
    other = command(*run, "--out", tmp_path / "data", "--keep-burned-in")
    assert "burned_in: None, now kept" in str(other.exception)
    assert StudyDataset.open(tmp_path / "all").row(0).orientation == "R\\F"
    audited = command("audit", tmp_path / "all", "--out", tmp_path / "audit")
    found = {
        item["check"]: item["count"]
        for item in json.loads((tmp_path / "audit/audit.json").read_text())["found"]
    }
    assert found["turned-films"] == 3, audited.output
