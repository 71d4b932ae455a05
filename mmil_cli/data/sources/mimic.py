"""A MIMIC-CXR-like tree: files/p10/p10000032/s50414267/<image>.dcm, the report s50414267.txt beside it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mmil_cli.data.dates import parse_dates
from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.on_disk import OnDisk
from mmil_cli.data.sources.chexpert import LABEL_NAMES
from mmil_cli.data.sources.films import is_left_over
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.sources.source import Source
from mmil_cli.data.splits import normalise_split
from mmil_cli.data.tables import parse_labels, read_table
from mmil_cli.errors import DataError, listing

_TABLE_NAME = re.compile(
    r"mimic-cxr-[\d.]+-(?P<kind>split|metadata|chexpert|negbio)\.csv(?:\.gz)?", re.IGNORECASE
)
_PART_NAME = re.compile(r"p1\d(\d{6})?|s\d{8}")
_FILM_SUFFIXES = (".dcm", ".png", ".jpg", ".jpeg")
"""In the order of preference, where a film is there in several forms."""

_WHERE = (
    "the reports come only with the DICOM release (MIMIC-CXR), "
    "the CSVs only with the JPG release (MIMIC-CXR-JPG)"
)


def is_tree(folder: Path) -> bool:
    """Whether a folder looks like the root of such a tree, or like its `files`."""
    return folder.is_dir() and any(study.is_dir() for study in _files(folder).glob("p1*/p1*/s*"))


def root_of_part(folder: Path) -> Path | None:
    """The tree that a folder of a group, subject or study of one belongs to; None for all others."""
    if not _PART_NAME.fullmatch(folder.name):
        return None
    above = list(folder.absolute().parents)[:4]
    return next((place for place in above if place.name != "files" and is_tree(place)), None)


def find(path: Path, options: SourceOptions) -> Manifest:
    """The films on disk, with the split, view and labels that the CSVs tell of them.

    Ids are those of the CSVs: the subject and study numbers without their letters, the image's file name.

    Raises:
        DataError: no report at all, no CSV where they were said to be, a CSV that cannot be used, or splits
            of other films.
    """
    tables = _tables(path, options.tables)
    known = _read_tables(tables, dated=options.study_days)
    reports = _files(options.reports) if options.reports else _files(path)
    films = list(_films(_files(path)))
    if films and not options.labels_only and not any(_report(film, reports).is_file() for film in films):
        example = "" if options.pseudonyms else f" (such as {_report(films[0], reports)})"
        raise DataError(f"no report{example} lies beside any study; {_WHERE}: unpack mimic-cxr-reports.zip, "
                        "and name its folder with --reports")  # fmt: skip
    if options.study_days and not known.dates:
        raise DataError("--study-days needs StudyDate of mimic-cxr-2.0.0-metadata.csv.gz, which is not "
                        f"there; {_WHERE} (--tables names their folder)")  # fmt: skip
    records = OnDisk(_record(film, _report(film, reports), known) for film in films)
    if films and known.splits and all(record.split is None for record in records):
        raise DataError(
            f"{tables['split']} names none of the {len(films)} films of {path}; take tables and films of one "
            "release (--tables names the folder of the tables)"
        )
    return Manifest(
        "mimic", path.absolute(), records, known.label_names, (), tuple(_notes(tables, known, records))
    )


@dataclass(frozen=True)
class _Known:
    """What the CSVs say: split, view and date by image, labels by study."""

    splits: dict[str, str]
    views: dict[str, str]
    dates: dict[str, date | None]
    labels: dict[str, tuple[int | None, ...]]
    label_names: tuple[str, ...]


def _files(folder: Path) -> Path:
    return folder / "files" if (folder / "files").is_dir() else folder


def _films(files: Path) -> Iterator[Path]:
    """One path a film, in the order of subjects, studies and file names."""
    for study in sorted(files.glob("p1*/p*/s*")):
        if not study.is_dir():
            continue
        films: dict[str, Path] = {}
        for film in sorted(study.iterdir(), key=_preference):
            if film.suffix.lower() in _FILM_SUFFIXES and not is_left_over(film.name):
                films.setdefault(film.stem, film)
        yield from (films[name] for name in sorted(films))


def _preference(film: Path) -> int:
    suffix = film.suffix.lower()
    return _FILM_SUFFIXES.index(suffix) if suffix in _FILM_SUFFIXES else len(_FILM_SUFFIXES)


def _report(film: Path, reports: Path) -> Path:
    group, subject, study = film.parts[-4:-1]
    return reports / group / subject / f"{study}.txt"


def _record(film: Path, report: Path, known: _Known) -> Record:
    study_id, patient_id = film.parent.name[1:], film.parent.parent.name[1:]
    return Record(
        image=film,
        image_id=film.stem,
        study_id=study_id,
        patient_id=patient_id,
        split=known.splits.get(film.stem),
        view=known.views.get(film.stem),
        taken_on=known.dates.get(film.stem),
        report_path=report,
        labels=known.labels.get(study_id, (None,) * len(known.label_names)),
    )


def _tables(path: Path, folder: Path | None) -> dict[str, Path]:
    """The newest CSV of each kind, in the folder asked for or beside the films."""
    places = [folder] if folder else [path, path.parent] if path.name == "files" else [path]
    found = {
        match["kind"].lower(): file
        for place in places
        if place.is_dir()
        for file in sorted(place.iterdir())
        if (match := _TABLE_NAME.fullmatch(file.name))
    }
    if folder and not found:
        raise DataError(f"{folder} holds no CSV such as mimic-cxr-2.0.0-split.csv.gz; {_WHERE}")
    return found


def _read_tables(tables: dict[str, Path], *, dated: bool) -> _Known:
    labels, names = _read_labels(tables.get("chexpert") or tables.get("negbio"))
    splits = _read_column(tables.get("split"), "split")
    if "split" in tables and not splits:
        raise DataError(f"{tables['split']} names columns but has no row; fetch it again")
    return _Known(
        splits={image: name for image, text in splits.items() if (name := normalise_split(text))},
        views={
            image: text
            for image, text in _read_column(tables.get("metadata"), "ViewPosition").items()
            if text
        },
        dates=_read_dates(tables.get("metadata")) if dated else {},
        labels=labels,
        label_names=names,
    )


def _read_dates(path: Path | None) -> dict[str, date | None]:
    if path is None:
        return {}
    table = read_table(path)
    if "StudyDate" not in table.columns:
        return {}
    dates = parse_dates(table.column("StudyDate"), column="StudyDate", path=path)
    return dict(zip(table.column("dicom_id"), dates, strict=True))


def _read_column(path: Path | None, column: str) -> dict[str, str]:
    if path is None:
        return {}
    table = read_table(path)
    films = map(str.strip, table.column("dicom_id"))
    return dict(zip(films, map(str.strip, table.column(column)), strict=True))


def _read_labels(path: Path | None) -> tuple[dict[str, tuple[int | None, ...]], tuple[str, ...]]:
    if path is None:
        return {}, ()
    table = read_table(path)
    studies = [study.strip().removesuffix(".0") for study in table.column("study_id")]
    names = tuple(name for name in table.columns if name in LABEL_NAMES)
    if not names:
        raise DataError(f"{path.name} has none of the columns of labels ({listing(LABEL_NAMES, 3)}); it has: "
                        f"{listing(table.columns, 20)}; fetch it again")  # fmt: skip
    values = [parse_labels(table.column(name), column=name, path=path) for name in names]
    return dict(zip(studies, zip(*values, strict=True), strict=True)), names


def _notes(tables: dict[str, Path], known: _Known, records: Sequence[Record]) -> Iterator[str]:
    if "split" not in tables:
        yield f"no split table: patients are split by their ids; {_WHERE} (--tables names their folder)"
    elif gone := len(known.splits.keys() - {record.image_id for record in records}):
        yield f"{gone} images of {tables['split'].name} are not on disk"
    if not known.label_names:
        yield "no label table (mimic-cxr-2.0.0-chexpert.csv.gz): the dataset carries no labels"
    elif unknown := sum(record.study_id not in known.labels for record in records):
        yield f"the label table has no row for the studies of {unknown} films: their labels are blank"


SOURCE = Source(
    name="mimic",
    title="a MIMIC-CXR tree",
    needs="the folder of files/p10/p10000032/s50414267/*.dcm (or .jpg) with the reports of MIMIC-CXR beside "
    "the studies and the CSVs of MIMIC-CXR-JPG, both from PhysioNet",
    recognises=is_tree,
    find=find,
    takes=frozenset({"tables", "reports"}),
    has_dates=True,
)
