import gzip
import json
from pathlib import Path

import pytest
from source_files import table_rows, write_csv, write_table

from mmil_cli.data.manifest import Manifest, check_manifest, record_states
from mmil_cli.data.sources.find import find_records
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.errors import DataError, UsageError


def find(path: Path, **options: object) -> Manifest:
    return find_records(path, SourceOptions(**options))  # type: ignore[arg-type]


def test_a_csv_is_read_whole(tmp_path: Path) -> None:
    manifest = find(write_table(tmp_path, table_rows(4)))
    first = manifest.records[0]
    assert manifest.kind == "table"
    assert manifest.label_names == ("Nodule", "Edema")
    assert [record.labels for record in manifest.records] == [(1, None), (1, 0), (1, -1), (1, None)]
    assert first.image == tmp_path / "films/000.png"
    assert (first.image_id, first.study_id, first.patient_id, first.split, first.view) == (
        "i0",
        "s0",
        "p0",
        None,
        "PA",
    )
    assert first.report == "FINDINGS: Film 0 shows a nodule. No effusion."


def test_json_lines_and_gzip_say_the_same(tmp_path: Path) -> None:
    rows = [{**row, "Edema": None if row["Edema"] == "" else row["Edema"]} for row in table_rows(4)]
    text = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "films.jsonl").write_text(text)
    with gzip.open(tmp_path / "films.jsonl.gz", "wt") as handle:
        handle.write(text)
    write_csv(tmp_path / "films.csv.gz", table_rows(4))
    expected = find(write_csv(tmp_path / "films.csv", table_rows(4))).records
    for name in ("films.jsonl", "films.jsonl.gz", "films.csv.gz"):
        assert find(tmp_path / name).records == expected


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "films.csv"
    path.write_text("image,report\na.png,Clear.\n\nb.png,Clear.\n", encoding="utf-8-sig")
    assert [record.image_id for record in find(path).records] == ["a", "b"]


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    rows = [{"file": "a.png", "note": "Clear.", "group": "g1", "split": "val"}]
    path = write_csv(tmp_path / "films.csv", rows)
    record = find(path, columns={"image": "file", "report": "note", "patient_id": "group"}).records[0]
    assert (record.patient_id, record.report, record.split) == ("g1", "Clear.", "validate")


def test_missing_ids_fall_back(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "films.csv", [{"image": "x/a.png", "report": "Clear.", "study_id": ""}])
    record = find(path).records[0]
    assert (record.image_id, record.study_id, record.patient_id) == ("a", "a", "a")
    assert "patient_id" in find(path).notes[0]


def test_paths_start_from_the_root(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "films.csv", [{"image": "a.png", "report_path": "a.txt"}])
    (tmp_path / "elsewhere").mkdir()
    record = find(path, root=tmp_path / "elsewhere").records[0]
    assert record.image == tmp_path / "elsewhere/a.png"
    assert record.report_path == tmp_path / "elsewhere/a.txt"
    assert record.report is None


def test_label_columns_by_default_hold_nothing_but_labels(tmp_path: Path) -> None:
    rows = [
        {
            "image": f"{n}.png",
            "report": "Clear.",
            "A": n % 2,
            "age": n,
            "empty": "",
            "B": "maybe" if n == 19 else 1,
        }
        for n in range(20)
    ]
    manifest = find(write_csv(tmp_path / "films.csv", rows))
    assert manifest.label_names == ("A",)
    assert any("'B' (it holds 'maybe')" in note for note in manifest.notes)
    assert any(note.startswith("1 columns hold nothing but 1, 0, -1") for note in manifest.notes)
    assert find(tmp_path / "films.csv", labels=()).label_names == ()


def test_an_unknown_label_value_is_told(tmp_path: Path) -> None:
    rows = [
        {"image": f"{n}.png", "report": "Clear.", "Edema": value}
        for n, value in enumerate([1, 0, "yes", "2"])
    ]
    with pytest.raises(
        DataError, match=r"'Edema' holds 'yes' in 1 rows, first in row 3; a label is 1 \(present.*0 to 9"
    ):
        find(write_csv(tmp_path / "films.csv", rows), labels=("Edema",))


def test_grades_become_a_label_for_each_threshold(tmp_path: Path) -> None:
    grades = [0, "1.0", 2, 3, -1, ""]
    rows = [
        {"image": f"{n}.png", "report": "x", "Severity": grade, "Edema": 1} for n, grade in enumerate(grades)
    ]
    path = write_csv(tmp_path / "films.csv", rows)
    manifest = find(path, labels=("Severity", "Edema"))
    assert manifest.label_names == ("Severity >= 1", "Severity >= 2", "Severity >= 3", "Edema")
    assert [record.labels[:3] for record in manifest.records] == [
        (0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1), (-1, -1, -1), (None, None, None),
    ]  # fmt: skip
    assert find(path).label_names == ("Edema",)


def test_a_named_column_without_a_value_stays_a_label(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "films.csv", [{"image": "a.png", "report": "x", "Edema": ""}])
    assert find(path, labels=("Edema",)).label_names == ("Edema",)


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (
            {"imagee": "a.png", "report": "x"},
            {},
            "no column 'image'; did you mean 'imagee'.*--column image=NAME",
        ),
        (
            {"image": "a.png", "reports": "x"},
            {},
            "no column 'report'; did you mean 'reports'.*--column report=NAME",
        ),
        (
            {"image": "a.png", "view": "PA", "note": "The heart is normal in size.", "history": ""},
            {},
            r"--column report_path=NAME \(a file\), .*--labels-only; columns that hold text: 'note'$",
        ),
        (
            {"image": "a.png", "report": "x"},
            {"columns": {"report": "note"}},
            "no column 'note'.*image, report",
        ),
        ({"image": "a.png", "report": "x"}, {"columns": {"patient": "image"}}, "did you mean 'patient_id'"),
        ({"image": "a.png", "report": "x"}, {"labels": ("Edma",)}, "--labels.*no column 'Edma'"),
        ({"image": "a.png", "report": "x"}, {"tables": Path("t")}, "--tables is no option of a table.*mimic"),
    ],
)
def test_wrong_columns_and_options(
    tmp_path: Path, row: dict[str, object], options: dict[str, object], message: str
) -> None:
    path = write_csv(tmp_path / "films.csv", [row])
    with pytest.raises(UsageError, match=message) as raised:
        find(path, **options)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"image,report\na.png,Clear,lungs\nb.png\n", "2 columns but row 1 has 3, row 2 has 1"),
        (b"image,report,image\na,b,c\n", "more than once: image"),
        (b"image,report\na.png,\xff\xfe\n", "not UTF-8"),
    ],
)
def test_broken_tables(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "films.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        find(path)


def test_broken_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "films.jsonl"
    path.write_text('{"image": "a.png", "report": "x"}\n[1]\n{"image"\n')
    with pytest.raises(DataError, match="rows 2, 3"):
        find(path)


def test_a_name_twice_in_a_line_loses_nothing_silently(tmp_path: Path) -> None:
    path = tmp_path / "films.jsonl"
    path.write_text(
        '{"image": "a.png", "report": "x"}\n{"image": "b.png", "report": "x", "image": "c.png"}\n'
    )
    with pytest.raises(DataError, match="rows 2 are no JSON objects with plain values, each name once"):
        find(path)


@pytest.mark.parametrize(
    "content", [b"no gzip at all", gzip.compress(b"image,report\n" * 99, mtime=0)[:10] + b"\xff" * 40]
)
def test_a_broken_gzip_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "films.csv.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        find(path)


def test_unknown_sources_name_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"does not exist; known are table .*mimic \(a MIMIC-CXR tree\)"):
        find(tmp_path / "nothing")
    write_csv(tmp_path / "films.csv", table_rows(1))
    with pytest.raises(UsageError, match=r"did you mean .*films\.csv"):
        find(tmp_path)


def test_all_contradictions_are_told_at_once(tmp_path: Path) -> None:
    rows = [{**row, "split": ("train", "test")[n % 2]} for n, row in enumerate(table_rows(4))]
    rows[3]["image_id"] = "i0"
    with pytest.raises(DataError) as raised:
        check_manifest(find(write_csv(tmp_path / "films.csv", rows)))
    message = str(raised.value)
    assert "image ids that occur more than once: 1 (i0)" in message
    assert "patients in more than one split: 2 (p0 (test, train), p1 (test, train))" in message


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text("image,report\n")
    with pytest.raises(DataError, match="names columns but has no row"):
        check_manifest(find(tmp_path / "films.csv"))


def test_the_fingerprint_sees_changes_of_rows_and_files(tmp_path: Path) -> None:
    path = write_table(tmp_path, table_rows(3))
    before = record_states(find(path))
    assert before == record_states(find(path))
    film = tmp_path / "films/001.png"
    content = film.read_bytes()
    film.unlink()
    without = record_states(find(path))
    film.write_bytes(content + b" ")
    changed = record_states(find(path))
    assert len({before, without, changed}) == 3
