"""CheXpert (films and labels) and CheXpert Plus (the same films with their reports)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.sources.films import FILM_SUFFIXES
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.sources.source import Source, compose_report, has_text
from mmil_cli.data.sources.table_files import first_line, table_named, tables_like
from mmil_cli.data.splits import normalise_split
from mmil_cli.data.tables import Table, parse_labels, read_table
from mmil_cli.errors import DataError

LABEL_NAMES = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other",
    "Fracture", "Support Devices",
)  # fmt: skip
_TABLES = {"train.csv": "train", "valid.csv": "validate"}
_PLUS = "df_chexpert_plus_"
_SECTIONS = ("clinical_history", "history", "comparison", "technique", "findings", "impression")
_UNLABELLED = (None,) * len(LABEL_NAMES)

Key = tuple[str, str, str]
"""Patient, study and view, as folder and file names: what both tables name a film by."""


def find(path: Path, options: SourceOptions) -> Manifest:
    """One record a film: those of CheXpert Plus if its table is there, else those of train.csv and valid.csv.

    Raises:
        DataError: reports are asked for and the table of CheXpert Plus is not there.
    """
    tables = options.tables or path
    labels = _labels(tables)
    plus = _plus_table(options.reports or tables)
    root = (options.root or path).absolute()
    if plus is None and not options.labels_only:
        raise DataError(
            f"{path} has films and labels but no reports: those come only with CheXpert Plus "
            "(df_chexpert_plus_240401.csv, aimi.stanford.edu); name it with --reports, or keep films and "
            "labels with --labels-only"
        )
    films = _of_plus(plus, labels, root) if plus else _of_labels(labels, root)
    notes = () if labels else ("no train.csv or valid.csv (CheXpert): the dataset carries no labels",)
    names = LABEL_NAMES if labels else ()
    return Manifest("chexpert", root, tuple(films), names, (), notes)


@dataclass(frozen=True)
class _Labelled:
    """A row of train.csv or valid.csv."""

    path: str
    split: str
    view: str
    labels: tuple[int | None, ...]


def _labels(folder: Path) -> dict[Key, _Labelled]:
    rows: dict[Key, _Labelled] = {}
    for name, split in _TABLES.items():
        if file := table_named(folder, name):
            rows |= _labels_of(read_table(file), split)
    return rows


def _labels_of(table: Table, split: str) -> dict[Key, _Labelled]:
    values = [parse_labels(table.column(name), column=name, path=table.path) for name in LABEL_NAMES]
    paths = table.column("Path")
    views = [
        _view(side, projection)
        for side, projection in zip(table.column("Frontal/Lateral"), table.column("AP/PA"), strict=True)
    ]
    films: dict[Key, _Labelled] = {}
    rows = zip(paths, views, zip(*values, strict=True), strict=True)
    for row, (path, view, labels) in enumerate(rows, start=1):
        key = _key(path, table.path, row)
        if key in films:
            raise DataError(
                f"{table.path.name}: row {row} names {path} a second time; remove one of its rows"
            )
        films[key] = _Labelled(path, split, view, labels)
    return films


def _of_labels(labels: Mapping[Key, _Labelled], root: Path) -> list[Record]:
    return [
        Record(_film(root, row.path), "_".join(key), "_".join(key[:2]), key[0], row.split, row.view or None,
               labels=row.labels)
        for key, row in labels.items()
    ]  # fmt: skip


def _of_plus(table: Table, labels: Mapping[Key, _Labelled], root: Path) -> list[Record]:
    paths, splits = table.column("path_to_image"), table.column("split")
    views = zip(table.column("frontal_lateral"), table.column("ap_pa"), strict=True)
    records = []
    for place, (path, split, view) in enumerate(zip(paths, splits, views, strict=True)):
        key = _key(path, table.path, place + 1)
        row = labels.get(key)
        records.append(
            Record(_film(root, path), "_".join(key), "_".join(key[:2]), key[0],
                   normalise_split(split), _view(*view) or None, report=_report(table, place),
                   labels=(row.labels if row else _UNLABELLED) if labels else ())
        )  # fmt: skip
    return records


def _report(table: Table, place: int) -> str:
    """The sections of a report; its narrative where it has neither findings nor an impression."""
    parts = [(name.replace("_", " "), _cell(table, place, f"section_{name}")) for name in _SECTIONS]
    if not any(has_text(text) for name, text in parts if name in ("findings", "impression")):
        parts.append(("findings", _cell(table, place, "section_narrative")))
    return compose_report(parts)


def _cell(table: Table, place: int, column: str) -> str:
    return table.rows[place][table.place(column)]


def _key(path: str, table: Path, row: int) -> Key:
    parts = PurePosixPath(path).parts[-4:]
    if len(parts) < 4 or {"..", "/"} & set(parts):
        raise DataError(
            f"{table.name} names a film otherwise than train/patient00001/study1/view1_frontal.jpg, first in "
            f"row {row}: take the table as CheXpert gives it"
        )
    return parts[1], parts[2], PurePosixPath(parts[3]).stem


def _film(root: Path, path: str) -> Path:
    """The film on disk: below train or valid, whatever the release is called and its files are encoded as.

    Where there is none, the path that the table tells (`os.path`: no fault for a name that cannot be one).
    """
    told = root.joinpath(*PurePosixPath(path).parts[-4:])
    suffixes = (form for suffix in FILM_SUFFIXES for form in (suffix, suffix.upper()))
    forms = (told, *map(told.with_suffix, suffixes))
    return next((form for form in forms if os.path.isfile(form)), told)  # noqa: PTH113


def _view(side: str, projection: str) -> str:
    """PA or AP of frontal films (LL and RL are Lateral), else the side that the table tells."""
    if side.strip().lower() == "lateral":
        return "LATERAL"
    return projection.strip() or side.strip()


def _plus_table(place: Path) -> Table | None:
    file = place if place.is_file() else next(iter(tables_like(place, _PLUS)), None)
    return read_table(file) if file else None


def _recognises(path: Path) -> bool:
    if not path.is_dir():
        return False
    tables = (table_named(path, name) for name in _TABLES)
    return bool(tables_like(path, _PLUS)) or any(b"Frontal/Lateral" in first_line(t) for t in tables if t)


SOURCE = Source(
    name="chexpert",
    title="CheXpert",
    needs="the folder of train.csv, valid.csv and the films (CheXpert-v1.0), with "
    "df_chexpert_plus_240401.csv of CheXpert Plus for the reports, both from aimi.stanford.edu",
    recognises=_recognises,
    find=find,
    takes=frozenset({"root", "tables", "reports"}),
)
