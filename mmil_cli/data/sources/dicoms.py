"""A folder of DICOM files in any layout, its reports text files, a table, or structured reports among them.

Films and reports are put together by what the headers say; nothing of it is told. Ids of the dataset are
hashes of the instance and study UIDs. A patient's own number could be found again by trying all numbers, so a
patient is named after the first of the studies there (by date, then UID): the name stays while later studies
come in, and changes if an earlier one does. [ours] Under a key (`data.pseudonyms`) nothing can be tried out:
it names the instance UID, the study UID, and the patient's number with who issued it (where the header says).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from mmil_cli.data.checks import read_head
from mmil_cli.data.dates import parse_date
from mmil_cli.data.dicom_objects import DATE_LENGTH, DicomObject, is_dicom, opaque_id, read_object
from mmil_cli.data.manifest import Manifest, Record, RecordReason, relative_path
from mmil_cli.data.pseudonyms import LEVELS, Pseudonyms
from mmil_cli.data.reasons import Reason, rejected
from mmil_cli.data.sources.films import DICOM_SUFFIXES, FILM_SUFFIXES, files_below
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.sources.report_files import StudyNames, Unmatched, matched_files, matched_rows
from mmil_cli.data.sources.source import Source
from mmil_cli.data.tables import TABLE_SUFFIXES
from mmil_cli.data.texts import read_text
from mmil_cli.errors import DataError, RejectedRecord

_LOOKED_AT = 200
"""Files of which one must be DICOM for a folder to be taken for one of DICOM files."""

_BETWEEN_REPORTS = "\n" + "_" * 30 + "\n"
_NO_REPORT = (
    str(RecordReason.MISSING_REPORT),
    "no report has the UID or accession number of its study, or lies in the study's folder",
)


@dataclass(frozen=True)
class _Listing:
    """The DICOM files of a folder by what they are."""

    films: tuple[DicomObject, ...]
    reports: tuple[DicomObject, ...]
    broken: tuple[tuple[Path, RejectedRecord], ...]
    others: int
    copies: int
    pictures: int


@dataclass(frozen=True)
class _Unreadable:
    """One of several files of a report that cannot be read: without it the report would lack a part."""

    path: Path
    why: str


Report = str | Path | _Unreadable


def find(path: Path, options: SourceOptions) -> Manifest:
    """One record an image, those without a report and with an unreadable header among them.

    Reports of a study that come in several pieces are read as one, in the order of their names.

    Raises:
        DataError: no report belongs to any of the films.
    """
    listed = _list(path)
    names = StudyNames(listed.films, path)
    texts, notes = _texts(options.reports or path, listed, names)
    if listed.films and not any(film.study in texts for film in listed.films):
        raise DataError(
            f"no report belongs to any of the {len(listed.films)} films of {path}{_wordless(listed)}"
            f"{''.join(f' ({note})' for note in notes)}; {_WHERE}"
        )
    names_of = _Names(options.pseudonyms, {} if options.pseudonyms else _patients(listed.films))
    records = [
        *(_record(film, texts.get(film.study), names_of, path) for film in listed.films),
        *(_broken(file, fault, names_of, path) for file, fault in listed.broken),
    ]
    return Manifest(
        "dicoms",
        path.absolute(),
        tuple(sorted(records, key=lambda record: str(record.image))),
        options=(("reports", names_of.place(options.reports, path)),) if options.reports else (),
        notes=(*_notes(listed, options), *notes),
    )


def _list(path: Path) -> _Listing:
    """Read the headers of all DICOM files; of several files of one object the first is kept."""
    films, reports, broken, seen, others, copies, pictures = [], [], [], set(), 0, 0, 0
    for file in files_below(path):
        try:
            if not is_dicom(file):
                _refuse_named(file)
                pictures += file.name.lower().endswith(FILM_SUFFIXES)
                continue
            found = read_object(file)
        except RejectedRecord as fault:
            broken.append((file, fault))
            continue
        if found.instance and found.instance in seen:
            copies += 1
            continue
        seen.add(found.instance)
        if found.report is not None:
            reports.append(found)
        elif found.is_image:
            films.append(replace(found, study=found.study or relative_path(file, path)))
        else:
            others += 1
    return _Listing(tuple(films), tuple(reports), tuple(broken), others, copies, pictures)


def _refuse_named(file: Path) -> None:
    """Refuse what only its name calls DICOM: a film may have been there."""
    if file.name.lower().endswith(DICOM_SUFFIXES):
        read_head(file)
        raise rejected(Reason.NOT_AN_IMAGE, file, "is no DICOM file")


def _texts(place: Path, listed: _Listing, names: StudyNames) -> tuple[Mapping[str, Report], list[str]]:
    """The report of each study, as a text or as the one file that holds it; and what to tell of them."""
    pieces: dict[str, list[str | Path]] = defaultdict(list)
    for report in listed.reports:
        for study in names.of_name(report.study) or names.of_name(report.accession):
            pieces[study].extend([report.report] if report.report else [])
    left: list[str] = []
    if place.is_file():
        rows, unmatched = matched_rows(place, names)
        left = _left_rows(place, unmatched)
        _extend(pieces, rows)
    else:
        files, strays = matched_files(place, names)
        if strays:
            left = [f"{len(strays)} files of text belong to no film"]
        _extend(pieces, files)
    several = sum(len(parts) > 1 for parts in pieces.values())
    told = [f"{several} studies have several reports, which are read as one"] if several else []
    return {study: _joined(parts) for study, parts in pieces.items() if parts}, [*left, *told]


def _left_rows(table: Path, unmatched: Unmatched) -> list[str]:
    if not unmatched.rows:
        return []
    nearly = f", {unmatched.nearly} of them for a lost leading zero or a .0: save the numbers as text"
    return [f"{unmatched.rows} rows of {table.name} belong to no film{nearly if unmatched.nearly else ''}"]


def _extend(pieces: dict[str, list[str | Path]], more: Mapping[str, Sequence[str | Path]]) -> None:
    for study, parts in more.items():
        pieces[study].extend(parts)


def _joined(parts: Sequence[str | Path]) -> Report:
    """The only report of a study as it is, or the text of several."""
    if len(parts) == 1:
        return parts[0]
    texts = []
    for part in parts:
        try:
            texts.append(part if isinstance(part, str) else read_text(part))
        except (OSError, ValueError) as fault:
            assert isinstance(part, Path)
            return _Unreadable(part, str(getattr(fault, "strerror", None) or fault))
    return _BETWEEN_REPORTS.join(texts)


def _patients(films: Iterable[DicomObject]) -> dict[str, str]:
    """The name of each patient: the first study's."""
    first: dict[str, tuple[str, str]] = {}
    for film in films:
        began = (film.began, film.study)
        first[film.patient] = min(began, first.get(film.patient, began))
    return {patient: opaque_id(study) for patient, (_, study) in first.items() if patient}


def _wordless(listed: _Listing) -> str:
    """A clause on structured reports that say nothing that is read; "" where there are none."""
    count = sum(not report.report for report in listed.reports)
    return f" ({count} structured reports have no text under a heading that is known)" if count else ""


@dataclass(frozen=True)
class _Names:
    """What stands for the ids of headers: hashes, keyed ones where there is a key.

    Attributes:
        patients: without a key, the name of each patient that has a number.
    """

    pseudonyms: Pseudonyms | None
    patients: Mapping[str, str]

    def name(self, level: str, original: str) -> str:
        """The name of an image or study, or of a patient without a number."""
        return self.pseudonyms.name(level, original) if self.pseudonyms else opaque_id(original)

    def patient(self, film: DicomObject) -> str:
        """The name of the patient of a film."""
        if self.pseudonyms:
            return self.pseudonyms.name("patient_id", film.patient or film.study)
        return self.patients.get(film.patient, opaque_id(film.study))

    def place(self, path: Path, root: Path) -> str:
        """A path relative to the root, or under a key what stands for it."""
        place = relative_path(path, root)
        return self.pseudonyms.name("place", place) if self.pseudonyms else place


def _record(film: DicomObject, report: Report | None, names: _Names, root: Path) -> Record:
    file = report.path if isinstance(report, _Unreadable) else report
    return Record(
        image=film.path,
        image_id=names.name("image_id", film.instance or relative_path(film.path, root)),
        study_id=names.name("study_id", film.study),
        patient_id=names.patient(film),
        report=file if isinstance(file, str) else None,
        report_path=file if isinstance(file, Path) else None,
        fault=_fault(report),
        taken_on=parse_date(film.began[:DATE_LENGTH]),
    )


def _fault(report: Report | None) -> tuple[str, str] | None:
    """What is wrong with the report of a film, if anything is known by now."""
    if isinstance(report, _Unreadable):
        return str(RecordReason.UNREADABLE_REPORT), f"{report.path.name} {report.why}"
    return _NO_REPORT if report is None else None


def _broken(file: Path, fault: RejectedRecord, names: _Names, root: Path) -> Record:
    place = relative_path(file, root)
    image, study, patient = (names.name(level, place) for level in LEVELS)
    return Record(file, image, study, patient, fault=(str(fault.reason), fault.detail))


def _notes(listed: _Listing, options: SourceOptions) -> Iterator[str]:
    if listed.others:
        yield f"{listed.others} DICOM objects are neither films nor reports and are left alone"
    if listed.copies:
        yield f"{listed.copies} DICOM files are copies of others (the same instance UID) and are left alone"
    if listed.pictures:
        yield (
            f"{listed.pictures} PNG or JPEG files have no header and are left alone; a table of films and "
            "reports is a source of its own"
        )
    if wordless := _wordless(listed):
        yield wordless.strip(" ()")
    if without := sum(not film.patient for film in listed.films):
        yield f"{without} films have no patient id in their header; their studies count as patients"
    if listed.broken:
        some = options.some([file.name for file, _ in listed.broken])
        yield f"{len(listed.broken)} DICOM files have no readable header{some}"


def _recognises(path: Path) -> bool:
    return path.is_dir() and any(is_dicom(file) for file in islice(files_below(path), _LOOKED_AT))


_WHERE = (
    "a report is a text file named after the study's instance UID or accession number, or after the study's "
    "folder, or lying in it (.txt; elsewhere with --reports FOLDER); a row of a table with the columns "
    "StudyInstanceUID or AccessionNumber and report (--reports TABLE); or a structured report (SR) among the "
    f"DICOM files. A table of films and reports ({TABLE_SUFFIXES[0]}, ...) is a source of its own"
)
SOURCE = Source(
    name="dicoms",
    title="a folder of DICOM files",
    needs="a folder of DICOM films in any layout with text files, a table or structured reports as reports",
    recognises=_recognises,
    find=find,
    takes=frozenset({"reports"}),
    has_labels=False,
    has_dates=True,
    names_ids=True,
)
