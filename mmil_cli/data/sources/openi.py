"""OpenI, the Indiana University chest films: one XML a report, or the two tables that were made of them.

Labels are what the collection's coders wrote (`MeSH`, `Problems`): 1 for a finding that the report was coded
with, 0 for one that it was not, blank where nobody coded the report (`No Indexing`) or the film was too poor.
"""

import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from mmil_cli.data.manifest import Manifest, Record, RecordReason
from mmil_cli.data.sources.films import film_name, film_or_expected, films_below, is_left_over
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.sources.source import Source, compose_report
from mmil_cli.data.sources.table_files import table_named
from mmil_cli.data.tables import Table, read_table
from mmil_cli.errors import DataError

LABEL_NAMES = (
    "normal", "Airspace Disease", "Aorta", "Atherosclerosis", "Calcified Granuloma", "Cardiomegaly",
    "Indwelling Catheters", "Cicatrix", "Emphysema", "Bone Fractures", "Hiatal Hernia",
    "Implanted Medical Device", "Infiltrate", "Nodule", "Opacity", "Pleural Effusion", "Pneumonia",
    "Pneumothorax", "Pulmonary Atelectasis", "Pulmonary Congestion", "Pulmonary Edema", "Scoliosis",
)  # fmt: skip
"""The codes that are kept, those with a comma the other way round (`Hernia, Hiatal`). [ours]"""

_UNCODED = {"no indexing", "technical quality of image unsatisfactory"}
_TABLES = ("indiana_reports.csv", "indiana_projections.csv")
_SECTIONS = ("indication", "comparison", "findings", "impression")
_LARGEST_XML = 4 * 2**20
_ROOT = b"<eCitation"


def find(path: Path, options: SourceOptions) -> Manifest:
    """One record an image of the collection; a report is a study, and a study is a patient.

    The collection has one study a patient (Demner-Fushman et al., J Am Med Inform Assoc 2016).

    Raises:
        DataError: reports without the tables of their images, or images without reports.
    """
    folder = options.root or path
    films = films_below(folder)
    listed, imageless = _of_tables(path, folder, films) if _has_tables(path) else _of_xml(path, folder, films)
    if not films:
        raise DataError(
            f"{folder} holds no film; the images are an archive of their own (NLMCXR_png.tgz or "
            "NLMCXR_dcm.tgz, openi.nlm.nih.gov/faq, or images of the CSV form): unpack it there, or "
            "name its folder with --root"
        )
    notes = _notes(imageless, options)
    return Manifest("openi", folder.absolute(), tuple(listed), LABEL_NAMES, (), tuple(notes))


def _of_tables(path: Path, folder: Path, films: Mapping[str, Path]) -> tuple[list[Record], list[str]]:
    files = {name: table_named(path, name) for name in _TABLES}
    if missing := [name for name, file in files.items() if file is None]:
        raise DataError(f"{path} lacks {missing[0]}; {_NEEDS}")
    reports, projections = (read_table(file) for file in files.values() if file)
    by_uid = {uid: row for row, uid in enumerate(reports.column("uid"))}
    coded = reports.column("Problems")
    texts = _report_texts(reports)
    records = []
    rows = zip(*(projections.column(name) for name in ("uid", "filename", "projection")), strict=True)
    for uid, name, projection in rows:
        row = by_uid.get(uid)
        film = film_or_expected(films, name, folder)
        labels = _labels(coded[row].split(";")) if row is not None else _labels(["No Indexing"])
        report = texts[row] if row is not None else None
        records.append(
            Record(film, film_name(name), uid, uid, view=projection or None, report=report, labels=labels)
        )
    imaged = {record.study_id for record in records}
    return records, [uid for uid in by_uid if uid not in imaged]


def _report_texts(reports: Table) -> list[str]:
    columns = [reports.column(name) for name in _SECTIONS]
    return [compose_report(zip(_SECTIONS, row, strict=True)) for row in zip(*columns, strict=True)]


def _of_xml(path: Path, folder: Path, films: Mapping[str, Path]) -> tuple[list[Record], list[str]]:
    records: list[Record] = []
    imageless = []
    for file in sorted(_xml_files(path), key=lambda file: (len(file.stem), file.stem)):
        found = list(_records_of_xml(file, folder, films))
        records.extend(found)
        imageless.extend([] if found else [file.name])
    return records, imageless


def _records_of_xml(file: Path, folder: Path, films: Mapping[str, Path]) -> Iterator[Record]:
    """One record an image of a report; a file that is no such report is one record with its fault."""
    try:
        root = _parse(file)
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as fault:
        told = (str(RecordReason.UNREADABLE_REPORT), f"{file.name} is no report of OpenI ({_why(fault)})")
        blank = _labels(["No Indexing"])
        yield Record(
            None, f"xml-{file.stem}", file.stem, file.stem, report_path=file, labels=blank, fault=told
        )
        return
    uid = _attribute(root.find("uId"), "id") or file.stem
    parts = [(part.get("Label", ""), "".join(part.itertext())) for part in root.iter("AbstractText")]
    report = compose_report((header, text) for header, text in parts if header)
    labels = _labels((major.text or "").split("/")[0] for major in root.iter("major"))
    for image in root.iter("parentImage"):
        if name := image.get("id"):
            yield Record(
                _film_of_xml(name, films, folder), name, uid, uid, report=report, labels=labels
            )  # fmt: skip


def _film_of_xml(name: str, films: Mapping[str, Path], folder: Path) -> Path:
    """`CXR1_1_IM-0001-3001` of the report is that name with .png, and 1_IM-0001-3001 with .dcm."""
    return films.get(name) or films.get(name.partition("_")[2]) or folder / f"{name}.png"


def _parse(file: Path) -> ElementTree.Element:
    """The report as a tree; declarations, which only a bomb would have here, are refused.

    Raises:
        ValueError: it is too large, declares entities or has another root.
    """
    state = file.stat()
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("it is no plain file")
    if state.st_size > _LARGEST_XML:
        raise ValueError(f"more than {_LARGEST_XML // 2**20} MiB")
    content = file.read_bytes()
    if b"<!" in content.replace(b"<!--", b"").replace(b"<![CDATA[", b""):
        raise ValueError("it declares entities")
    root = ElementTree.fromstring(content)
    if root.tag != "eCitation":
        raise ValueError("it has no eCitation")
    return root


def _why(fault: Exception) -> str:
    """What is wrong, without words of the file: the parser quotes the entities that it does not know."""
    if isinstance(fault, ElementTree.ParseError):
        line, column = fault.position
        return f"no XML in line {line}, column {column}"
    return str(getattr(fault, "strerror", None) or fault)


def _attribute(element: ElementTree.Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")


def _labels(codes: Iterable[str]) -> tuple[int | None, ...]:
    """1 and 0 for the codes of a report, None throughout where it was not coded."""
    given = {" ".join(reversed(code.strip().lower().split(", "))) for code in codes} - {""}
    if not given or given & _UNCODED:
        return (None,) * len(LABEL_NAMES)
    return tuple(int(name.lower() in given) for name in LABEL_NAMES)


def _notes(imageless: list[str], options: SourceOptions) -> list[str]:
    if not imageless:
        return []
    told = f"{len(imageless)} reports name no image and are not in the dataset"
    return [f"{told}{options.some(imageless)}"]


def _has_tables(path: Path) -> bool:
    return any(table_named(path, name) for name in _TABLES)


def _xml_files(path: Path) -> list[Path]:
    folder = path / "ecgen-radiology" if (path / "ecgen-radiology").is_dir() else path
    return [file for file in folder.glob("*.xml") if not is_left_over(file.name)]


def _recognises(path: Path) -> bool:
    if not path.is_dir():
        return False
    first = next(iter(sorted(_xml_files(path))), None)
    return _has_tables(path) or (first is not None and _is_report(first))


def _is_report(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as handle:
        return _ROOT in handle.read(2000)


_NEEDS = (
    "the folder of the reports (ecgen-radiology/*.xml of NLMCXR_reports.tgz, openi.nlm.nih.gov/faq) and the "
    "images (NLMCXR_png or NLMCXR_dcm), or of indiana_reports.csv, indiana_projections.csv and the images"
)
SOURCE = Source(
    name="openi",
    title="OpenI (Indiana University chest films)",
    needs=_NEEDS,
    recognises=_recognises,
    find=find,
    takes=frozenset({"root"}),
)
