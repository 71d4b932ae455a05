"""NIH ChestX-ray14: films with the names of their findings; its reports were never released."""

from pathlib import Path

from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.sources.films import film_name, film_or_expected, films_below
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.sources.source import Source
from mmil_cli.data.sources.table_files import tables_like
from mmil_cli.data.splits import split_of
from mmil_cli.data.tables import Table, read_table
from mmil_cli.errors import DataError, listing

LABEL_NAMES = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "No Finding", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
_TABLES = "Data_Entry_2017"
_LISTS = ("train_val_list.txt", "test_list.txt")
_SHARES = {"train": 7 / 8, "validate": 1 / 8}
"""Of the patients of train_val_list.txt: 70, 10 and 20 % with those of test_list.txt (Wang et al. 2017)."""


def find(path: Path, options: SourceOptions) -> Manifest:
    """One record a row of the table; a follow-up number is a study.

    Labels come from text mining of the reports and are never uncertain: 1 is named, 0 is not. Where the lists
    of the official split are there, patients of `train_val_list.txt` go to train and validate by a hash of
    their ids, and those of `test_list.txt` to test.

    Raises:
        DataError: an unknown finding, or lists that do not hold all films.
    """
    table = read_table(_table(options.tables or path))
    root = (options.root or path).absolute()
    films, splits = films_below(root), _splits(options.tables or path)
    columns = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "View Position")
    labels = _labels(table)
    records = tuple(
        Record(
            image=film_or_expected(films, name, root),
            image_id=film_name(name),
            study_id=f"{patient}_{follow_up}",
            patient_id=patient,
            split=_split(name, patient, splits),
            view=view or None,
            labels=labels[place],
        )
        for place, (name, _, follow_up, patient, view) in enumerate(
            zip(*(table.column(column) for column in columns), strict=True)
        )
    )
    notes = () if splits else (f"no {_LISTS[0]} and {_LISTS[1]}: patients are split by their ids",)
    return Manifest("nih", root, records, LABEL_NAMES, (), notes)


def _labels(table: Table) -> list[tuple[int, ...]]:
    named = [frozenset(cell.strip().split("|")) for cell in table.column("Finding Labels")]
    unknown = sorted(frozenset().union(*named) - set(LABEL_NAMES))
    if unknown:
        raise DataError(
            f"{table.path.name}: Finding Labels holds {listing([repr(name) for name in unknown])}; the "
            f"findings are {', '.join(LABEL_NAMES)}, several with | between them"
        )
    return [tuple(int(name in row) for name in LABEL_NAMES) for row in named]


def _splits(folder: Path) -> dict[str, str]:
    """Film -> "train_val" or "test"; empty where the two lists are not both there."""
    if not all((folder / name).is_file() for name in _LISTS):
        return {}
    return {
        line.strip(): name.removesuffix("_list.txt")
        for name in _LISTS
        for line in (folder / name).read_text(encoding="utf-8-sig", errors="replace").splitlines()
        if line.strip()
    }


def _split(name: str, patient: str, splits: dict[str, str]) -> str | None:
    listed = splits.get(name)
    return split_of(patient, shares=_SHARES) if listed == "train_val" else listed


def _table(folder: Path) -> Path:
    found = tables_like(folder, _TABLES)
    if not found:
        raise DataError(f"{folder} has no Data_Entry_2017.csv; {SOURCE.title} is {SOURCE.needs}")
    return found[-1]


def _recognises(path: Path) -> bool:
    return path.is_dir() and bool(tables_like(path, _TABLES))


SOURCE = Source(
    name="nih",
    title="NIH ChestX-ray14",
    needs="the folder of Data_Entry_2017.csv (or _v2020), train_val_list.txt, test_list.txt and the unpacked "
    "images_001 to images_012, from nihcc.app.box.com",
    recognises=_recognises,
    find=find,
    takes=frozenset({"root", "tables"}),
    has_reports=False,
)
