"""Reports beside a folder of DICOM files: texts in files of their own, or a table of them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmil_cli.data.dicom_objects import DicomObject
from mmil_cli.data.sources.films import files_below
from mmil_cli.data.tables import read_table
from mmil_cli.errors import DataError, listing

TEXT_SUFFIX = ".txt"
_STUDY_COLUMNS = ("studyinstanceuid", "studyuid", "studyid")
_ACCESSION_COLUMNS = ("accessionnumber", "accession", "accessionno")
_REPORT_COLUMNS = ("report", "reporttext", "text")


class StudyNames:
    """The ways in which a report can say which studies it belongs to."""

    def __init__(self, films: Iterable[DicomObject], root: Path) -> None:
        self._by_name: dict[str, set[str]] = defaultdict(set)
        self._by_place: dict[Path, set[str]] = defaultdict(set)
        self._bare: set[str] = set()
        for film in films:
            for name in filter(None, (film.study, film.accession)):
                self._by_name[name].add(film.study)
            place = film.path.relative_to(root)
            for part in (place.with_suffix(""), place, *place.parents):
                if part != Path():
                    self._by_place[part].add(film.study)

    def of_name(self, name: str) -> set[str]:
        """The studies whose instance UID or accession number it is."""
        return self._by_name.get(name.strip(), set())

    def is_nearly(self, name: str) -> bool:
        """Whether a name is that of a study but for leading zeros, or a `.0`, which spreadsheets change."""
        self._bare = self._bare or {_bare(known) for known in self._by_name}
        return _bare(name) in self._bare

    def of_file(self, place: Path) -> set[str]:
        """The studies of a text file, by its path as if it lay in the folder of the films.

        In this order: its name is a UID or an accession number; a film or a folder of films of one study has
        its name; its folder holds films of one study.
        """
        named = self.of_name(place.stem) or self._by_place.get(place.with_suffix(""), set())
        around = self._by_place.get(place.parent, set()) if place.parent != Path() else set()
        return named or (around if len(around) == 1 else set())


def _bare(name: str) -> str:
    return name.strip().removesuffix(".0").lstrip("0")


@dataclass(frozen=True)
class Unmatched:
    """Rows of a table that belong to no film.

    Attributes:
        rows: how many.
        nearly: of these, with the number of a film but for how it is written.
    """

    rows: int
    nearly: int


def texts_below(folder: Path) -> list[Path]:
    """All files of text below a folder."""
    return [path for path in files_below(folder) if path.suffix.lower() == TEXT_SUFFIX]


def matched_files(folder: Path, names: StudyNames) -> tuple[dict[str, list[Path]], list[Path]]:
    """Files of text by study, and those that belong to none."""
    matched: dict[str, list[Path]] = defaultdict(list)
    left = []
    for file in texts_below(folder):
        studies = names.of_file(file.relative_to(folder))
        for study in studies:
            matched[study].append(file)
        if not studies:
            left.append(file)
    return matched, left


def matched_rows(path: Path, names: StudyNames) -> tuple[dict[str, list[str]], Unmatched]:
    """Texts of a table by study, and the rows that belong to none.

    Raises:
        DataError: no column of reports, or none that says the study.
    """
    table = read_table(path)
    folded = {re.sub(r"[^a-z]", "", name.lower()): name for name in table.columns}
    texts = table.column(_column(folded, _REPORT_COLUMNS, path, "report"))
    keys = [folded[name] for name in (*_STUDY_COLUMNS, *_ACCESSION_COLUMNS) if name in folded]
    if not keys:
        _column(folded, _STUDY_COLUMNS, path, "StudyInstanceUID or AccessionNumber")
    return _by_study(texts, [table.column(name) for name in keys], names)


def _by_study(
    texts: Sequence[str], columns: Sequence[Sequence[str]], names: StudyNames
) -> tuple[dict[str, list[str]], Unmatched]:
    matched: dict[str, list[str]] = defaultdict(list)
    unmatched = nearly = 0
    for text, *keys in zip(texts, *columns, strict=True):
        studies = next(filter(None, (names.of_name(key) for key in keys)), set())
        unmatched += not studies
        nearly += not studies and any(map(names.is_nearly, filter(str.strip, keys)))
        for study in studies:
            matched[study].append(text)
    return matched, Unmatched(unmatched, nearly)


def _column(folded: Mapping[str, str], allowed: Sequence[str], path: Path, wanted: str) -> str:
    found: Iterator[str] = (folded[name] for name in allowed if name in folded)
    column = next(found, None)
    if column is None:
        has = listing(list(folded.values()), 20)
        raise DataError(f"{path.name} needs a column {wanted} to be a table of reports; it has: {has}")
    return column
