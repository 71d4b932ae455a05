"""PadChest: films of San Juan Hospital with Spanish reports and the findings named in them."""

import ast
from datetime import date
from pathlib import Path

from mmil_cli.data.dates import parse_dates
from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.sources.films import film_name, film_or_expected, films_below
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.sources.source import Source
from mmil_cli.data.sources.table_files import tables_like
from mmil_cli.data.tables import Table, read_table
from mmil_cli.errors import DataError

_TABLES = "PADCHEST_chest_x_ray_images_labels"
_COLUMNS = ("ImageID", "StudyID", "PatientID", "Projection", "Report")
_DATE = "StudyDate_DICOM"
_LATERAL = "L"
_NOT_READ = "exclude"
"""The label of films that nobody could read: they have no labels."""


def find(path: Path, options: SourceOptions) -> Manifest:
    """One record an image; every finding that the table names is a label, 1 where it is named and else 0.

    The reports are Spanish, in lower case and cut to the stems of their words, with a blank before each
    full stop: the stop is put back to its sentence, nothing else is changed.

    Raises:
        DataError: no table, or labels that are no list of names.
    """
    table = read_table(_table(options.tables or path))
    root = (options.root or path).absolute()
    films = films_below(root)
    named = _named(table)
    dates = _dates(table) if options.study_days else [None] * len(table.rows)
    names = tuple(sorted({name for row in named for name in row} - {_NOT_READ, ""}))
    records = tuple(
        Record(
            image=film_or_expected(films, image, root),
            image_id=film_name(image),
            study_id=study,
            patient_id=patient or study,
            view="LATERAL" if view == _LATERAL else view or None,
            report=_report(report),
            labels=_labels(named[place], names),
            taken_on=dates[place],
        )
        for place, (image, study, patient, view, report) in enumerate(
            zip(*(table.column(name) for name in _COLUMNS), strict=True)
        )
    )
    notes = ("the reports are Spanish and cut to word stems: pretrain with a vocabulary of their own",)
    return Manifest("padchest", root, records, names, (), () if options.labels_only else notes)


def _dates(table: Table) -> list[date | None]:
    return parse_dates(table.column(_DATE), column=_DATE, path=table.path)


def _report(text: str) -> str:
    sentences = [sentence.strip() for sentence in text.split(" .") if sentence.strip(" .")]
    return "\n\n".join(f"{sentence}." for sentence in sentences)


def _labels(named: frozenset[str], names: tuple[str, ...]) -> tuple[int | None, ...]:
    if not named - {""} or _NOT_READ in named:
        return (None,) * len(names)
    return tuple(int(name in named) for name in names)


def _named(table: Table) -> list[frozenset[str]]:
    """The names in each cell, which is written as a Python list of strings."""
    rows = []
    for number, cell in enumerate(table.column("Labels"), start=1):
        names = _list(cell)
        if names is None:
            raise DataError(
                f"{table.path.name}: Labels of row {number} is no list of names such as ['normal', 'nodule']"
            )
        rows.append(frozenset(name.strip().lower() for name in names))
    return rows


def _list(cell: str) -> list[str] | None:
    if cell.strip().lower() in ("", "nan"):
        return []
    try:
        names = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _table(folder: Path) -> Path:
    found = tables_like(folder, _TABLES)
    if not found:
        raise DataError(f"{folder} has no table of labels; {SOURCE.title} is {SOURCE.needs}")
    return found[-1]


def _recognises(path: Path) -> bool:
    return path.is_dir() and bool(tables_like(path, _TABLES))


SOURCE = Source(
    name="padchest",
    title="PadChest",
    needs="the folder of PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv and the unpacked image "
    "folders 0 to 54, from bimcv.cipf.es/bimcv-projects/padchest",
    recognises=_recognises,
    find=find,
    takes=frozenset({"root", "tables"}),
    has_dates=True,
)
