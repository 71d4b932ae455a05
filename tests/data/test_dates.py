from datetime import date
from pathlib import Path

import pytest
from archives import write_dicom_folder, write_nih, write_padchest
from source_files import table_rows, write_csv, write_mimic, write_table

from mmil_cli.data.dates import parse_date
from mmil_cli.data.manifest import Manifest
from mmil_cli.data.sources.find import find_records
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.errors import DataError, UsageError


def find(path: Path, **options: object) -> Manifest:
    return find_records(path, SourceOptions(**{"study_days": True, **options}))  # type: ignore[arg-type]


def dated_table(folder: Path, *dates: str) -> Path:
    rows = [{**row, "patient_id": "p", "study_date": day}
            for row, day in zip(table_rows(len(dates)), dates, strict=True)]  # fmt: skip
    return write_table(folder, rows)


@pytest.mark.parametrize("text", ["20240229", "2024-02-29", "2024.02.29", "2024/02/29", "2024-02-29T10:15:00",
                                  " 2024-02-29 10:15 ", "20240229.0"])  # fmt: skip
def test_forms_of_dates(text: str) -> None:
    assert parse_date(text) == date(2024, 2, 29)


@pytest.mark.parametrize(
    "text", ["", "20230229", "29.02.2024", "2024-0229", "240229", "20240229x", "00000000"]
)
def test_no_dates(text: str) -> None:
    assert parse_date(text) is None


def test_days_count_from_the_first_study_of_the_patient(tmp_path: Path) -> None:
    manifest = find(dated_table(tmp_path, "2020-03-01", "2020-02-28", "", "20210228"))
    assert [record.study_day for record in manifest.records] == [2, 0, None, 366]
    assert "1 records have no date of their study, and no study day" in manifest.notes
    assert all(record.taken_on is None for record in manifest.records)
    assert "2020" not in repr(manifest)


def test_without_asking_there_are_none(tmp_path: Path) -> None:
    manifest = find(dated_table(tmp_path, "2020-03-01", "no date"), study_days=False)
    assert [(record.study_day, record.taken_on) for record in manifest.records] == [(None, None)] * 2


def test_another_column_of_dates(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "films.csv", [{"image": "a.png", "report": "x", "when": "2020-01-01"}])
    assert find(path, columns={"study_date": "when"}).records[0].study_day == 0
    with pytest.raises(UsageError, match="study_date=when is read for --study-days alone"):
        find(path, columns={"study_date": "when"}, study_days=False)
    with pytest.raises(UsageError, match=r"--study-days: .*no column 'study_date'.*--column study_date=NAME"):
        find(path)


def test_what_is_no_date_is_told_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"study_date is no date in rows 2, 4; a date is 20200131") as raised:
        find(dated_table(tmp_path, "2020-03-01", "31.12.1999", "", "yesterday"))
    assert "1999" not in str(raised.value)


def test_archives_with_dates(tmp_path: Path) -> None:
    days = {
        record.image.name: record.study_day for record in find(write_dicom_folder(tmp_path / "d")).records
    }
    assert days == {"IM1.dcm": 0, "IM2": 0, "IM3.dcm": 366, "IM4.dcm": 0}
    assert {record.study_day for record in find(write_padchest(tmp_path / "p")).records} == {0}
    root = write_mimic(tmp_path / "m", suffix=".csv")
    with pytest.raises(DataError, match=r"needs StudyDate of mimic-cxr-2\.0\.0-metadata"):
        find(root)
    table = root / "mimic-cxr-2.0.0-metadata.csv"
    lines = table.read_text().splitlines()
    days = ["StudyDate", "21800506", "21800506", "21800626", "21800101", "21800101", ""]
    table.write_text("\n".join(f"{line},{day}" for line, day in zip(lines, days, strict=True)))
    found = {record.image_id: record.study_day for record in find(root).records}
    assert [found[name] for name in sorted(found)] == [0, 0, 51, 0, 0, None]


def test_archives_without_dates_say_so(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="NIH ChestX-ray14 tells none; those do: table, mimic, padchest, dicoms"
    ):
        find(write_nih(tmp_path), labels_only=True)
