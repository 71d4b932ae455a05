"""ROCO and ROCOv2: radiological figures of articles with their captions, in tables of one split each."""

from pathlib import Path

from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.sources.films import film_name, film_or_expected, films_below
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.sources.source import Source
from mmil_cli.data.sources.table_files import table_named
from mmil_cli.data.tables import Table, read_table

_NAMES = {
    "train": ("train_captions.csv", "traindata.csv", "radiologytraindata.csv"),
    "validate": ("valid_captions.csv", "validation_captions.csv", "valdata.csv", "radiologyvaldata.csv"),
    "test": ("test_captions.csv", "testdata.csv", "radiologytestdata.csv"),
}
_FOLDERS = ("", "data/{}/radiology", "{}/radiology")
"""Where the tables lie, with the release's own name of the split."""

_SPELLINGS = {"train": "train", "validate": "validation", "test": "test"}


def find(path: Path, options: SourceOptions) -> Manifest:
    """One record a figure, its caption for a report; a figure counts as a patient: captions tell of none.

    Tables have the columns `ID` and `Caption` (ROCOv2), or `id`, `name` (the file) and `caption` (ROCO).

    Raises:
        DataError: a table without those columns.
    """
    root = (options.root or path).absolute()
    films = films_below(root)
    records = tuple(
        Record(
            image=film_or_expected(films, name, root),
            image_id=film_name(name),
            study_id=film_name(name),
            patient_id=film_name(name),
            split=split,
            report=caption,
        )
        for split, file in _tables(path)
        for name, caption in _captions(read_table(file))
    )
    return Manifest("roco", root, records, notes=("captions tell no patients: each figure counts as one",))


def _captions(table: Table) -> list[tuple[str, str]]:
    if "name" in table.columns:
        return list(zip(table.column("name"), table.column("caption"), strict=True))
    names = [f"{name}.jpg" for name in table.column("ID")]
    return list(zip(names, table.column("Caption"), strict=True))


def _tables(path: Path) -> list[tuple[str, Path]]:
    """(split, table) of every table that is there."""
    return [
        (split, file)
        for split, names in _NAMES.items()
        for folder in _FOLDERS
        for name in names
        if (file := table_named(path / folder.format(_SPELLINGS[split]), name))
    ]


def _recognises(path: Path) -> bool:
    return path.is_dir() and bool(_tables(path))


SOURCE = Source(
    name="roco",
    title="ROCO",
    needs="the folder of train_captions.csv, valid_captions.csv, test_captions.csv and their images "
    "(ROCOv2, zenodo.org), or of data/train/radiology/traindata.csv and its like (ROCO, "
    "github.com/razorx89/roco-dataset)",
    recognises=_recognises,
    find=find,
    takes=frozenset({"root"}),
    has_labels=False,
)
