"""Dates of studies, which a dataset never keeps, as days since a patient's first one, which it may."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.on_disk import Mapped
from mmil_cli.errors import DataError, listing

_DATE = re.compile(r"(\d{4})([-./]?)(\d{2})\2(\d{2})(?:[T ].*|\.0)?")
FORMS = "20200131, 2020-01-31 or 2020-01-31 10:15"


def parse_date(text: str) -> date | None:
    """The day of a date as DICOM or ISO 8601 writes it; None where it is blank or none."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    try:
        return date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None


def parse_dates(values: Sequence[str], *, column: str, path: Path) -> list[date | None]:
    """A column of dates, None where a cell is blank.

    Raises:
        DataError: a cell that is neither blank nor a date; says in which rows, and not what it holds.
    """
    dates = [parse_date(text) for text in values]
    bad = [str(number) for number, (text, day) in enumerate(zip(values, dates, strict=True), start=1)
           if day is None and text.strip()]  # fmt: skip
    if bad:
        raise DataError(f"{path.name}: {column} is no date in rows {listing(bad)}; a date is {FORMS}")
    return dates


def with_study_days(manifest: Manifest) -> Manifest:
    """The manifest with days since the first dated study of each patient among all its records.

    A record without a date has none. The dates themselves go. An earlier study that comes in later moves all
    days of its patient.
    """
    first: dict[str, date] = {}
    for record in manifest.records:
        if record.taken_on is not None:
            first[record.patient_id] = min(record.taken_on, first.get(record.patient_id, record.taken_on))
    records = Mapped(manifest.records, lambda record: _with_day(record, first.get(record.patient_id)))
    undated = sum(record.study_day is None for record in records)
    notes = (f"{undated} records have no date of their study, and no study day",) if undated else ()
    return replace(
        manifest,
        records=records,
        options=(*manifest.options, ("study_days", "yes")),
        notes=(*manifest.notes, *notes),
    )


def without_dates(manifest: Manifest) -> Manifest:
    """The manifest as it was read without asking for days."""
    if all(record.taken_on is None for record in manifest.records):
        return manifest
    return replace(manifest, records=Mapped(manifest.records, lambda record: replace(record, taken_on=None)))


def _with_day(record: Record, first: date | None) -> Record:
    day = (record.taken_on - first).days if record.taken_on is not None and first is not None else None
    return replace(record, taken_on=None, study_day=day)
