"""Archives as they lie on real disks: linked, packed, renamed, with what systems leave between the films."""

import csv
import gzip
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from archives import (
    ARCHIVES,
    write_chexpert_plus,
    write_dicom_folder,
    write_rsna,
)
from source_files import table_rows, write_csv, write_dicom, write_mimic, write_png, write_table

from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.sources.films import files_below, films_below
from mmil_cli.data.sources.find import SOURCES, find_records
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.tables import read_table
from mmil_cli.errors import DataError, UsageError

Change = Callable[[Path], object]
FILMS = (".png", ".jpg", ".dcm", ".dicom")
FOLDERS = [(name, write) for name, writers in ARCHIVES.items() for write in writers if name != "table"]
EVERY_FOLDER = pytest.mark.parametrize(("name", "write"), FOLDERS)


def find(path: Path, name: str, **options: object) -> Manifest:
    """What is listed, the source recognised and not named."""
    return find_records(path, SourceOptions(labels_only=not SOURCES[name].has_reports, **options))  # type: ignore[arg-type]


def told(manifest: Manifest) -> list[tuple[Record, dict[str, int | None], list[str]]]:
    """The records, their labels by name and the words of their reports."""
    return [
        (
            replace(record, labels=(), report=None),
            dict(zip(manifest.label_names, record.labels, strict=True)),
            (record.report or "").split(),
        )
        for record in manifest.records
    ]


def tables(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.name.lower().endswith((".csv", ".csv.gz"))]


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    changed = change(content(path))
    path.write_bytes(gzip.compress(changed, mtime=0) if path.suffix == ".gz" else changed)


def rewrite_rows(root: Path, change: Callable[[list[list[str]]], list[list[str]]]) -> None:
    def changed(data: bytes) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(change(list(csv.reader(io.StringIO(data.decode(), newline="")))))
        return text.getvalue().encode()

    for table in tables(root):
        rewrite(table, changed)


def crlf(root: Path) -> None:
    for table in tables(root):
        rewrite(table, lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


def byte_order_marks(root: Path) -> None:
    for file in [*tables(root), *root.rglob("*.txt"), *root.rglob("*.json")]:
        rewrite(file, lambda data: b"\xef\xbb\xbf" + data)


def rows_of_commas(root: Path) -> None:
    """What a spreadsheet leaves of rows that were cleared."""
    rewrite_rows(root, lambda rows: [rows[0], [""] * len(rows[0]), *rows[1:], [" "] * len(rows[0])])


def another_column(root: Path) -> None:
    rewrite_rows(root, lambda rows: [[*row, str(n or "Unnamed: 0")] for n, row in enumerate(rows)])


def columns_reversed(root: Path) -> None:
    rewrite_rows(root, lambda rows: [row[::-1] for row in rows])


def all_packed(root: Path) -> None:
    for table in tables(root):
        if table.suffix == ".csv":
            table.with_name(f"{table.name}.gz").write_bytes(gzip.compress(table.read_bytes(), mtime=0))
            table.unlink()


def packed_beside_plain(root: Path) -> None:
    for table in tables(root):
        other = table.with_suffix("") if table.suffix == ".gz" else table.with_name(f"{table.name}.gz")
        other.write_bytes(content(table) if table.suffix == ".gz" else gzip.compress(table.read_bytes()))


def upper_case_suffixes(root: Path) -> None:
    for table in tables(root):
        start = table.name[: table.name.lower().rindex(".csv")]
        table.rename(table.with_name(start + table.name[len(start) :].upper()))


def left_by_systems(root: Path) -> None:
    for path in list(root.rglob("*")):
        if path.is_file():
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7" + bytes(200))
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    for name in ("__MACOSX", "$RECYCLE.BIN", ".Trash-1000"):
        write_dicom(root / name / "deleted.dcm", 77, StudyInstanceUID="1.2.9.99", PatientID="gone")


def linked_folders(root: Path) -> None:
    away = root.parent / "away"
    for folder in [path for path in sorted(root.iterdir()) if path.is_dir()]:
        away.mkdir(exist_ok=True)
        shutil.move(folder, away / folder.name)
        folder.symlink_to(away / folder.name)


def linked_files(root: Path) -> None:
    away = root.parent / "away"
    away.mkdir()
    for number, path in enumerate([path for path in sorted(root.rglob("*")) if path.is_file()]):
        shutil.move(path, away / str(number))
        path.symlink_to(away / str(number))


def circles(root: Path) -> None:
    for folder in [root, *(path for path in sorted(root.rglob("*")) if path.is_dir())]:
        (folder / "loop").symlink_to(root)
        (folder / "up").symlink_to(root.parent)


CHANGES: list[Change] = [
    crlf, byte_order_marks, rows_of_commas, another_column, columns_reversed, all_packed, packed_beside_plain,
    upper_case_suffixes, left_by_systems, linked_folders, linked_files, circles,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@EVERY_FOLDER
def test_an_archive_lists_the_same_records(
    tmp_path: Path, name: str, write: Callable[[Path], Path], change: Change
) -> None:
    root = write(tmp_path / "archive")
    before = told(find(root, name))
    change(root)
    after = find(root, name)
    assert told(after) == before
    assert all(record.image and record.image.is_file() for record in after.records)


@pytest.mark.parametrize("depth", [1, 3])
@EVERY_FOLDER
def test_an_archive_some_folders_deeper_is_named(
    tmp_path: Path, name: str, write: Callable[[Path], Path], depth: int
) -> None:
    if name == "dicoms":
        pytest.skip("any folder above DICOM files is one")
    root = write(tmp_path.joinpath("download", *["deeper"] * depth))
    with pytest.raises(UsageError) as raised:
        find(tmp_path / "download", name)
    assert f"holds {root} ({SOURCES[name].title}): give that folder" in str(raised.value)


def test_all_dicom_files_of_an_archive_are_taken_where_that_is_said(tmp_path: Path) -> None:
    write_mimic(tmp_path / "download/archive")
    with pytest.raises(UsageError, match="--source dicoms takes all DICOM files"):
        find(tmp_path / "download", "mimic")
    assert find(tmp_path / "download", "dicoms", source="dicoms").kind == "dicoms"


@pytest.mark.parametrize("part", ["p10", "p10/p10000032", "p10/p10000032/s50414267"])
def test_a_part_of_mimic_is_no_folder_of_dicoms(tmp_path: Path, part: str) -> None:
    root = write_mimic(tmp_path / "mimic")
    with pytest.raises(UsageError, match=r"is a part of \S+mimic \(a MIMIC-CXR tree\): give that folder"):
        find(root / "files" / part, "mimic")


def test_folders_of_patients_that_begin_like_those_of_mimic(tmp_path: Path) -> None:
    (write_dicom_folder(tmp_path / "hospital") / "a").rename(tmp_path / "hospital/p12")
    assert find(tmp_path / "hospital", "dicoms").kind == "dicoms"


def test_a_folder_is_listed_once_and_under_its_own_name(tmp_path: Path) -> None:
    film = write_png(tmp_path / "source/real/film.png", 1)
    write_png(tmp_path / "elsewhere/.hidden/inner/other.png", 2)
    (tmp_path / "source/a_link").symlink_to(film.parent)
    (tmp_path / "source/b_link").symlink_to(tmp_path / "elsewhere/.hidden/inner")
    (tmp_path / "source/c_link").symlink_to(tmp_path / "elsewhere/.hidden")
    (tmp_path / "source/d_link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "source/e_link").symlink_to("e_link")
    found = [str(path.relative_to(tmp_path / "source")) for path in files_below(tmp_path / "source")]
    assert found == ["d_link", "e_link", "real/film.png", "b_link/other.png"]


def test_a_link_into_a_hidden_folder_of_the_source_is_followed(tmp_path: Path) -> None:
    write_png(tmp_path / ".store/films/film.png", 1)
    (tmp_path / "films").symlink_to(".store/films")
    assert films_below(tmp_path) == {"film": tmp_path / "films/film.png"}


def test_a_folder_that_cannot_be_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_dicom_folder(tmp_path)
    scandir = os.scandir

    def refusing(place: Path) -> object:
        if Path(place).name == "visit2":
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(
        DataError, match=r"visit2 cannot be looked into \(Permission denied\).*make it readable"
    ):
        find(root, "dicoms")


def test_what_only_its_name_calls_dicom_is_counted(tmp_path: Path) -> None:
    root = write_dicom_folder(tmp_path)
    (root / "a/visit1/IM1.dcm").write_bytes(b"")
    (root / "a/visit2/IM3.dcm").write_bytes(b"<html>Not found</html>")
    (root / "b/lost.DCM").symlink_to(root / "nowhere")
    write_png(root / "b/picture.png", 1)
    manifest = find(root, "dicoms")
    assert sorted(record.fault[0] for record in manifest.records if record.fault) == [
        "empty-file", "missing-file", "not-an-image",
    ]  # fmt: skip
    assert any(note.startswith("3 DICOM files have no readable header") for note in manifest.notes)
    assert any(note.startswith("1 PNG or JPEG files have no header") for note in manifest.notes)


@pytest.mark.parametrize("name", ["root", "tables", "reports"])
def test_an_option_that_leads_nowhere_is_told(tmp_path: Path, name: str) -> None:
    source = write_chexpert_plus(tmp_path / "archive")
    with pytest.raises(UsageError, match=rf"--{name}: \S+nowhere does not exist; check its spelling"):
        find(source, "chexpert", **{name: tmp_path / "nowhere"})


def test_mimic_with_numbers_as_pandas_writes_them(tmp_path: Path) -> None:
    root = write_mimic(tmp_path)
    before = find(root, "mimic").records

    def floats(rows: list[list[str]]) -> list[list[str]]:
        places = [place for place, name in enumerate(rows[0]) if name in ("subject_id", "study_id")]
        return [rows[0], *([f"{c}.0" if n in places else c for n, c in enumerate(row)] for row in rows[1:])]

    rewrite_rows(root, floats)
    assert find(root, "mimic").records == before


def test_mimic_says_for_how_many_films_there_are_no_labels(tmp_path: Path) -> None:
    root = write_mimic(tmp_path)
    table = next(root.glob("*chexpert.csv.gz"))
    rewrite(table, lambda data: b"\n".join(data.splitlines()[:2]) + b"\n")
    assert any("no row for the studies of 4 films" in note for note in find(root, "mimic").notes)


def test_mimic_with_tables_of_another_release(tmp_path: Path) -> None:
    root = write_mimic(tmp_path)
    (table,) = root.glob("*split.csv.gz")
    rewrite_rows(root, lambda rows: [rows[0], *([f"x{row[0]}", *row[1:]] for row in rows[1:])])
    with pytest.raises(DataError, match=r"split\.csv\.gz names none of the 6 films .*of one release"):
        find(root, "mimic")
    rewrite(table, lambda data: data.splitlines()[0] + b"\n")
    with pytest.raises(DataError, match=r"split\.csv\.gz names columns but has no row"):
        find(root, "mimic")


def test_mimic_with_a_label_table_of_other_columns(tmp_path: Path) -> None:
    root = write_mimic(tmp_path)
    (table,) = root.glob("*chexpert.csv.gz")
    rewrite(table, lambda data: data.splitlines()[0].lower() + b"\n")
    with pytest.raises(
        DataError, match=r"has none of the columns of labels \(No Finding, .*; it has: subject"
    ):
        find(root, "mimic")


def test_chexpert_with_films_and_blanks_of_other_programs(tmp_path: Path) -> None:
    root = write_chexpert_plus(tmp_path)
    before = find(root, "chexpert").records
    rewrite_rows(root, lambda rows: [[cell or "nan" for cell in row] for row in rows])
    for film in list(root.rglob("*.jpg")):
        film.rename(film.with_suffix(".JPG"))
    after = find(root, "chexpert").records
    assert [record.report for record in after] == [record.report for record in before]
    assert all(record.image and record.image.is_file() for record in after)


def test_a_folder_with_a_renamed_table_names_it(tmp_path: Path) -> None:
    root = write_rsna(tmp_path)
    (root / "stage_2_train_labels.csv").rename(root / "labels.csv")
    (root / "stage_2_detailed_class_info.csv").unlink()
    with pytest.raises(UsageError, match=r"--labels-only needs labels.*; did you mean \S+labels\.csv\?"):
        find(root, "rsna")


def test_a_cell_may_be_long_and_is_shown_short(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "films.csv", [{"image": "a.png", "report": "Clear.", "note": "x" * 500_000}])
    assert len(read_table(path).rows[0][2]) == 500_000
    with pytest.raises(DataError) as raised:
        find(path, "table", labels=("note",))
    assert len(str(raised.value)) < 300


def test_an_open_quote_is_told(tmp_path: Path) -> None:
    path = tmp_path / "films.csv"
    path.write_text('image,report\na.png,"Clear.\n' + "b.png,Clear lungs and heart.\n" * 200_000)
    with pytest.raises(DataError, match=r"line \d+: field larger than field limit.*a quote may be left open"):
        read_table(path)


@pytest.mark.parametrize("code", ["utf-16", "cp1252"])
def test_how_to_convert_a_table_is_told(tmp_path: Path, code: str) -> None:
    path = tmp_path / "films.csv"
    path.write_bytes("image,report\na.png,Größe normal\n".encode(code))
    with pytest.raises(
        DataError, match=f"iconv -f {'UTF-16' if code == 'utf-16' else 'WINDOWS-1252'} -t UTF-8"
    ):
        read_table(path)


def test_ids_stay_as_they_are_written(tmp_path: Path) -> None:
    rows = [{**row, "patient_id": f"00{n // 2}", "study_id": f"{n}.0"} for n, row in enumerate(table_rows(4))]
    manifest = find(write_table(tmp_path, rows), "table")
    assert [record.patient_id for record in manifest.records] == ["000", "000", "001", "001"]
    assert [record.study_id for record in manifest.records] == ["0.0", "1.0", "2.0", "3.0"]
    assert any("the ids of column 'study_id' end in .0" in note for note in manifest.notes)
    assert not any("'patient_id'" in note for note in manifest.notes)


@pytest.mark.parametrize(
    ("in_header", "in_table"), [("0004711", "4711"), ("4711", "4711.0"), ("0042", "42.0")]
)
def test_numbers_that_a_spreadsheet_has_changed(tmp_path: Path, in_header: str, in_table: str) -> None:
    for number, accession in enumerate((in_header, "12")):
        write_dicom(
            tmp_path / f"films/{number}.dcm",
            number,
            StudyInstanceUID=f"1.2.{number}",
            AccessionNumber=accession,
        )
    rows = [{"AccessionNumber": name, "report": "No effusion."} for name in (in_table, "12", "13")]
    table = write_csv(tmp_path / "reports.csv", rows)
    expected = (
        "2 rows of reports.csv belong to no film, 1 of them for a lost leading zero or a .0: save the "
        "numbers as text"
    )
    assert expected in find(tmp_path / "films", "dicoms", reports=table).notes
    write_csv(table, rows[:1])
    with pytest.raises(DataError, match="1 of them for a lost leading zero"):
        find(tmp_path / "films", "dicoms", reports=table)
