"""RSNA Pneumonia Detection Challenge 2018: DICOM films of NIH's with lung opacities marked; no reports."""

import json
from pathlib import Path

from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.sources.films import film_or_expected, films_below
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.sources.source import Source
from mmil_cli.data.sources.table_files import table_named
from mmil_cli.data.tables import parse_labels, read_table
from mmil_cli.errors import DataError

_TABLE = "stage_2_train_labels.csv"
_CLASSES = "stage_2_detailed_class_info.csv"
_ORIGINS = "pneumonia-challenge-dataset-mappings_2018.json"
_NORMAL = "Normal"


def find(path: Path, options: SourceOptions) -> Manifest:
    """One record a film, for which the table has one row or one row a box.

    Labels are `Lung Opacity` (Target) and, with the table of classes, `Normal` (0 for what is neither).
    What the table calls `patientId` is a film: RSNA's mapping to NIH's file names tells the patients. Without
    it each film counts as a patient, and the films of one person may lie in several splits.

    Raises:
        DataError: rows of one film that contradict each other, or a mapping that cannot be read.
    """
    tables = options.tables or path
    opacity = _by_film(tables, "Target")
    normal = _normal(table_named(tables, _CLASSES))
    root = (options.root or path).absolute()
    films, origins = films_below(root), _origins(tables / _ORIGINS)
    names = ("Lung Opacity", *(("Normal",) if normal else ()))
    records = []
    for name, target in opacity.items():
        labels = (target, *((normal.get(name),) if normal else ()))
        patient = origins.get(name, name)
        film = film_or_expected(films, f"{name}.dcm", root)
        records.append(Record(film, name, name, patient, labels=labels))
    notes = [] if origins else [f"no {_ORIGINS} (RSNA): each film counts as a patient of its own"]
    return Manifest("rsna", root, tuple(records), names, (), tuple(notes))


def _by_film(folder: Path, column: str) -> dict[str, int | None]:
    """The label of each film, the same in all of its rows."""
    path = table_named(folder, _TABLE)
    if path is None:
        raise DataError(f"{folder / _TABLE} is not there; {SOURCE.title} is {SOURCE.needs}")
    table = read_table(path)
    values = parse_labels(table.column(column), column=column, path=path)
    found: dict[str, int | None] = {}
    for row, (name, value) in enumerate(zip(table.column("patientId"), values, strict=True), start=1):
        if found.setdefault(name, value) != value:
            raise DataError(
                f"{path.name} gives one film both {found[name]} and {value} as {column}, the latter in row "
                f"{row}; mend the table"
            )
    return found


def _normal(path: Path | None) -> dict[str, int]:
    if path is None:
        return {}
    table = read_table(path)
    classes = zip(table.column("patientId"), table.column("class"), strict=True)
    return {name: int(kind.strip() == _NORMAL) for name, kind in classes}


def _origins(path: Path) -> dict[str, str]:
    """Film -> NIH's patient, the first part of NIH's file name (`00000013_005.png`)."""
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
        return {entry["subset_img_id"]: entry["img_id"].partition("_")[0] for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise DataError(f"{path} is not RSNA's list of subset_img_id and img_id; fetch it again") from fault


def _recognises(path: Path) -> bool:
    return path.is_dir() and table_named(path, _TABLE) is not None


SOURCE = Source(
    name="rsna",
    title="RSNA Pneumonia",
    needs=f"the folder of {_TABLE}, {_CLASSES} and stage_2_train_images/*.dcm (kaggle.com, RSNA Pneumonia "
    f"Detection Challenge) with {_ORIGINS} (rsna.org) for the patients",
    recognises=_recognises,
    find=find,
    takes=frozenset({"root", "tables"}),
    has_reports=False,
)
