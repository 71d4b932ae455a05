import csv
import hashlib
import hmac
import stat
from pathlib import Path

import pytest
from archives import write_dicom_folder, write_openi_xml
from source_files import table_rows, write_csv, write_mimic, write_table

from mmil_cli.data.exclusion import exclude, keep_only
from mmil_cli.data.manifest import Manifest
from mmil_cli.data.pseudonyms import CROSSWALK_COLUMNS, Pseudonyms, read_key, write_crosswalk
from mmil_cli.data.sources.find import find_records
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.errors import UsageError

KEY = "a key of at least 32 bytes, made up"
NAMES = Pseudonyms(KEY.encode())


def key_file(folder: Path, text: str = KEY, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_text(text + "\n")
    path.chmod(mode)
    return path


def find(path: Path, **options: object) -> Manifest:
    return find_records(path, SourceOptions(**{"pseudonyms": NAMES, **options}))  # type: ignore[arg-type]


def ids(manifest: Manifest) -> set[tuple[str, str, str]]:
    return {(record.image_id, record.study_id, record.patient_id) for record in manifest.records}


def test_a_pseudonym_is_the_first_128_bits_of_a_keyed_hash(tmp_path: Path) -> None:
    digest = hmac.new(KEY.encode(), b"patient_id\x0010000032", hashlib.sha256).hexdigest()
    assert read_key(key_file(tmp_path)).name("patient_id", "10000032") == digest[:32]
    assert NAMES.name("study_id", "10000032") != digest[:32]
    assert KEY not in repr(NAMES)
    assert KEY not in repr(SourceOptions(pseudonyms=NAMES))
    assert NAMES.check != Pseudonyms(b"x" * 32).check


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("short", 0o600, r"key holds 5 bytes; a key has 32 or more; make one with: .*openssl"),
        (KEY, 0o640, r"others than its owner may use .*key; run chmod 600"),
        (KEY, 0o604, "others than its owner"),
        ("", 0o600, "holds 0 bytes"),
    ],
)
def test_a_key_file_that_is_none(tmp_path: Path, text: str, mode: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_key(key_file(tmp_path, text, mode))


def test_a_missing_key_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing cannot be read \(No such file"):
        read_key(tmp_path / "nothing")
    with pytest.raises(UsageError, match="is no file"):
        read_key(tmp_path)
    with pytest.raises(UsageError, match="null"):
        read_key(tmp_path / "a\0b")


def test_two_sources_of_the_same_films_get_the_same_ids(tmp_path: Path) -> None:
    tree = write_mimic(tmp_path / "mimic")
    plain = find(tree, pseudonyms=None)
    columns = ("image_id", "study_id", "patient_id")
    rows = [{name: getattr(record, name) for name in columns} for record in plain.records]
    table = write_csv(tmp_path / "t.csv", [{**row, "image": "a.png", "report": "Clear."} for row in rows])
    assert ids(find(tree)) == ids(find(table))
    assert not ids(find(tree)) & ids(find(tree, pseudonyms=Pseudonyms(b"another key" * 3)))
    for told in ids(find(tree)):
        assert all(len(text) == 32 and set(text) <= set("0123456789abcdef") for text in told)


def test_ids_of_headers_are_named_by_the_key_alone(tmp_path: Path) -> None:
    """A patient's name no longer hangs on the studies that are there, and a table of UIDs agrees with it."""
    folder = write_dicom_folder(tmp_path / "source")
    expected = {
        (NAMES.name("image_id", f"1.2.8.{film}"), NAMES.name("study_id", f"1.2.9.{study}"),
         NAMES.name("patient_id", patient))
        for film, study, patient in ((1, 11, "MRN0815"), (2, 11, "MRN0815"), (3, 12, "MRN0815"),
                                     (4, 13, "MRN0816"))
    }  # fmt: skip
    assert ids(find(folder)) == expected
    (folder / "a/visit1/IM1.dcm").unlink()
    (folder / "a/visit1/IM2").unlink()
    assert ids(find(folder)) < expected


def test_the_order_of_the_source_is_not_kept(tmp_path: Path) -> None:
    records = find(write_table(tmp_path, table_rows(30))).records
    assert [record.image_id for record in records] == sorted(record.image_id for record in records)
    assert [record.image.name for record in records] != sorted(record.image.name for record in records)


@pytest.mark.parametrize("named", [False, True])
def test_lists_may_have_ids_or_pseudonyms(tmp_path: Path, named: bool) -> None:
    manifest = find(write_table(tmp_path, table_rows(6)))
    patient, image = NAMES.name("patient_id", "p1"), NAMES.name("image_id", "i5")
    (tmp_path / "list.txt").write_text(f"{patient if named else 'p1'}\n{image if named else 'i5'}\nzzz\n")
    marked = exclude(manifest, tmp_path / "list.txt", NAMES)
    left_out = {record.image_id for record in marked.records if record.excluded}
    assert left_out == {NAMES.name("image_id", f"i{number}") for number in (2, 3, 5)}
    assert "--exclude: 1 of 3 ids of list.txt are not in this source" in marked.notes
    kept = keep_only(manifest, write_csv(tmp_path / "l.csv", [{"dicom_id": image if named else "i5"}]), NAMES)
    assert [record.image_id for record in kept.records if not record.excluded] == [image]


def test_the_same_list_is_the_same_dataset_in_either_form(tmp_path: Path) -> None:
    manifest = find(write_table(tmp_path, table_rows(6)))
    options = []
    for text in ("i5", NAMES.name("image_id", "i5")):
        (tmp_path / "list.txt").write_text(text)
        options.append(exclude(manifest, tmp_path / "list.txt", NAMES).options)
    assert options[0] == options[1]


def test_a_list_of_nobody_tells_no_id(tmp_path: Path) -> None:
    manifest = find(write_table(tmp_path, table_rows(2)))
    (tmp_path / "list.txt").write_text("MRN4711")
    with pytest.raises(UsageError) as raised:
        exclude(manifest, tmp_path / "list.txt", NAMES)
    assert "MRN4711" not in str(raised.value)
    assert "i0" not in str(raised.value)


def test_an_id_of_two_levels_is_still_refused(tmp_path: Path) -> None:
    rows = [{**row, "study_id": "7" if n else "s", "patient_id": "p" if n else "7"}
            for n, row in enumerate(table_rows(2))]  # fmt: skip
    manifest = find(write_table(tmp_path, rows))
    (tmp_path / "list.txt").write_text("7")
    with pytest.raises(UsageError, match=r"1 ids of .* are ids of different things"):
        exclude(manifest, tmp_path / "list.txt", NAMES)


def test_the_crosswalk_tells_every_record_to_its_owner_alone(tmp_path: Path) -> None:
    names = read_key(key_file(tmp_path), remember=True)
    path = tmp_path / "crosswalk.csv"
    path.write_text("older")
    path.chmod(0o644)
    write_crosswalk(path, find(write_dicom_folder(tmp_path / "dicoms"), pseudonyms=names), names)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == CROSSWALK_COLUMNS
    found = {row["source_image_id"]: row for row in rows}
    assert found["1.2.8.3"]["path"] == "a/visit2/IM3.dcm"
    assert found["1.2.8.3"]["patient_id"] == NAMES.name("patient_id", "MRN0815")
    assert found["1.2.8.3"]["source_patient_id"] == "MRN0815"


def test_a_report_without_a_film_is_found_by_its_own_path(tmp_path: Path) -> None:
    root = write_openi_xml(tmp_path / "openi")
    (root / "ecgen-radiology/2.xml").write_text("<eCitation>&MARKER;</eCitation>")
    names = Pseudonyms(KEY.encode(), {})
    manifest = find(root, pseudonyms=names)
    assert "MARKER" not in repr(manifest)
    write_crosswalk(tmp_path / "c.csv", manifest, names)
    assert "xml-2,2,2,ecgen-radiology/2.xml" in (tmp_path / "c.csv").read_text()


def test_notes_name_no_file(tmp_path: Path) -> None:
    root = write_openi_xml(tmp_path / "openi")
    assert "(10.xml)" in find(root, pseudonyms=None).notes[0]
    assert "10" not in find(root).notes[0]
