"""VinDr-CXR: DICOM films whose findings several radiologists told, of PhysioNet or Kaggle; no reports."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.sources.films import film_or_expected, films_below
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.sources.source import Source
from mmil_cli.data.sources.table_files import first_line, table_named
from mmil_cli.data.splits import split_of
from mmil_cli.data.tables import Table, parse_labels, read_table
from mmil_cli.errors import DataError

_IMAGE_LABELS = {"train": "image_labels_train.csv", "test": "image_labels_test.csv"}
_BOXES = "train.csv"
_BOX_COLUMNS = (b"class_name", b"rad_id")
_SHARES = {"train": 7 / 8, "validate": 1 / 8}
"""Of the training films; VinDr-CXR names no films to validate on."""

Votes = Mapping[str, Mapping[str, list[int | None]]]
"""Film -> finding -> what each radiologist said."""


def find(path: Path, options: SourceOptions) -> Manifest:
    """One record a film, which counts as a patient: the release tells of none.

    A finding is 1 where most of the film's radiologists see it, 0 where none does, else -1. [ours]

    Raises:
        DataError: no table of findings.
    """
    tables = _tables(options.tables or path)
    root = (options.root or path).absolute()
    films = films_below(root)
    votes = {split: _votes(read_table(table)) for split, table in tables.items()}
    found = (name for films in votes.values() for findings in films.values() for name in findings)
    names = tuple(dict.fromkeys(found))
    records = tuple(
        Record(
            image=film_or_expected(films, f"{name}.dicom", root),
            image_id=name,
            study_id=name,
            patient_id=name,
            split=_split(name, split) if len(votes) > 1 else None,
            labels=tuple(_agreed(findings.get(finding, ())) for finding in names),
        )
        for split, of_films in votes.items()
        for name, findings in of_films.items()
    )
    notes = ("VinDr-CXR tells no patients: each film counts as one",)
    return Manifest("vindr", root, records, names, (), notes)


def _split(name: str, table: str) -> str:
    """Test films are those of the test table; films of the other one are for training and validation."""
    return split_of(name, shares=_SHARES) if table == "train" else table


def _agreed(said: Iterable[int | None]) -> int | None:
    told = [label for label in said if label is not None]
    if not told:
        return None
    share = sum(label == 1 for label in told) / len(told)
    return 1 if share > 0.5 else 0 if not share else -1


def _votes(table: Table) -> Votes:
    return _votes_of_boxes(table) if "class_name" in table.columns else _votes_of_labels(table)


def _votes_of_labels(table: Table) -> Votes:
    """One row a film and radiologist, one column a finding."""
    others = ("image_id", "rad_id", "")
    names = [name for name in table.columns if name.lower() not in others and "Unnamed:" not in name]
    values = [parse_labels(table.column(name), column=name, path=table.path) for name in names]
    votes: dict[str, dict[str, list[int | None]]] = defaultdict(lambda: defaultdict(list))
    for row, film in enumerate(table.column("image_id")):
        for name, column in zip(names, values, strict=True):
            votes[film][name].append(column[row])
    return votes


def _votes_of_boxes(table: Table) -> Votes:
    """One row a box; a radiologist of the film who drew none of a finding does not see it."""
    names = sorted(set(table.column("class_name")))
    seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    columns = (table.column(name) for name in ("image_id", "rad_id", "class_name"))
    for film, radiologist, name in zip(*columns, strict=True):
        seen[film][radiologist].add(name)
    return {
        film: {name: [int(name in drawn) for drawn in by.values()] for name in names}
        for film, by in seen.items()
    }


def _tables(folder: Path) -> dict[str, Path]:
    places = (folder, folder / "annotations")
    found = {
        split: file
        for split, name in _IMAGE_LABELS.items()
        for place in places
        if (file := table_named(place, name))
    }
    if not found and (boxes := _boxes(folder)):
        found = {"train": boxes}
    if not found:
        raise DataError(f"{folder} has no table of findings; {SOURCE.title} is {SOURCE.needs}")
    return found


def _boxes(folder: Path) -> Path | None:
    """The table of boxes; other archives have one of its name."""
    table = table_named(folder, _BOXES)
    header = first_line(table) if table else b""
    return table if all(name in header for name in _BOX_COLUMNS) else None


def _recognises(path: Path) -> bool:
    if not path.is_dir():
        return False
    places = (path, path / "annotations")
    told = any(table_named(place, name) for place in places for name in _IMAGE_LABELS.values())
    return told or _boxes(path) is not None


SOURCE = Source(
    name="vindr",
    title="VinDr-CXR",
    needs="the folder of annotations/image_labels_train.csv, image_labels_test.csv, train/*.dicom and "
    "test/*.dicom (PhysioNet), or of train.csv and train/*.dicom (kaggle.com, VinBigData Chest X-ray)",
    recognises=_recognises,
    find=find,
    takes=frozenset({"root", "tables"}),
    has_reports=False,
)
