"""Whether what preprocess made of a case is right: nothing lost, no reason missing, nothing wrong."""

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat
from xml.parsers.expat import ExpatError

import numpy as np

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.info import REJECTED_FILE
from mmil_cli.data.manifest import RecordReason
from mmil_cli.data.reasons import Reason
from mmil_cli.data.reports import parse_report, report_sentences
from mmil_cli.stages.fuzz.cases import Case
from mmil_cli.stages.fuzz.elements import Refused
from mmil_cli.stages.fuzz.pictures import strict_picture
from mmil_cli.stages.fuzz.tables import strict_rows

_REASONS = {str(reason) for reasons in (Reason, RecordReason) for reason in reasons}
_LEVELS_APART = 1
"""Grey levels of 255 by which two right readings may round apart."""


@dataclass(frozen=True)
class Made:
    """What preprocess has made of a case.

    Attributes:
        sentences, pixels, labels: by image id.
        rejected: rows of rejected.csv by image id.
    """

    sentences: Mapping[str, tuple[str, ...]]
    pixels: Mapping[str, np.ndarray]
    labels: Mapping[str, dict[str, float]]
    rejected: Mapping[str, dict[str, str]]


def read_made(folder: Path) -> Made:
    """A dataset folder, whole in memory."""
    dataset = StudyDataset.open(folder)
    rows = [dataset.row(index) for index in range(len(dataset))]
    values = dataset.labels()
    with (folder / REJECTED_FILE).open(newline="", encoding="utf-8") as handle:
        rejected = {row["image_id"]: row for row in csv.DictReader(handle)}
    return Made(
        {row.image_id: row.sentences for row in rows},
        {row.image_id: dataset.pixels(index) for index, row in enumerate(rows)},
        {row.image_id: dict(zip(dataset.label_names, values[index].tolist(), strict=True))
         for index, row in enumerate(rows)},
        rejected,
    )  # fmt: skip


def reason_of(case: Case, made: Made) -> str:
    """The reason for which the damaged record was left out; "" where it was taken."""
    of_victim = [
        row["reason"] for row in made.rejected.values() if not case.bad or row["image_id"] == case.bad
    ]
    others = [row["reason"] for row in made.rejected.values()]
    return next(iter(of_victim or others), "")


def wrong(case: Case, made: Made) -> Iterator[str]:
    """Everything that is wrong with the outcome, as sentences."""
    for name, row in made.rejected.items():
        told = f"{row['path']} {row['detail']}"
        if row["reason"] not in _REASONS or not row["detail"]:
            yield f"{name} is rejected without a reason"
        elif case.bad and case.victim.name not in told and row["reason"] != Reason.MISSING_FILE:
            yield f"{name} is rejected without the name of its file: {told}"
    for name in case.good:
        if name not in made.sentences:
            yield f"{name}, which is whole, is lost ({made.rejected.get(name)})"
    if case.bad and case.bad not in made.sentences and case.bad not in made.rejected and case.kind != "xml":
        yield f"{case.bad} is neither taken nor rejected"
    yield from _CHECKS[case.kind](case, made)


def _wrong_films(case: Case, made: Made) -> Iterator[str]:
    if case.bad:
        if case.bad in made.pixels:
            yield from _wrong_pixels(case.victim, made.pixels[case.bad], case.whole)
        return
    films = [*case.source.rglob("*.dcm")]
    if len(made.pixels) + len(made.rejected) > len(films):
        yield "more records than films"
    right = [film for film in map(_strict, [*films, case.whole]) if film is not None]
    for name, pixels in made.pixels.items():
        if not any(_alike(film, pixels) for film in right):
            yield f"{name} is like no film of the folder"


def _wrong_pixels(path: Path, pixels: np.ndarray, whole: Path) -> Iterator[str]:
    """The film must be what a strict reading of the file gives; or as before, where the damage spared it."""
    film = _strict(path)
    before = _strict(whole) if film is None else None
    if before is not None and _alike(before, pixels):
        return
    if film is None:
        yield f"{path.name} is taken, and a strict reading refuses it"
    elif not _alike(film, pixels):
        yield f"{path.name} has other pixels than a strict reading gives"


def _strict(path: Path) -> np.ndarray | None:
    try:
        return strict_picture(path) if path.is_file() else None
    except (Refused, OSError):
        return None


def _alike(film: np.ndarray, pixels: np.ndarray) -> bool:
    if film.shape != pixels.shape:
        return False
    expected = np.rint(film.astype(np.float32) * np.float32(255))
    apart = np.abs(expected - pixels)[~np.isnan(expected)]  # NaN: nobody can say what is right there
    return bool(apart.size and apart.max() <= _LEVELS_APART)


def _wrong_reports(case: Case, made: Made) -> Iterator[str]:
    if case.bad not in made.sentences:
        return
    data = case.victim.read_bytes()
    marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        yield f"{case.victim.name} is taken, and is no UTF-8"
        return
    if tuple(report_sentences(parse_report(text))) != made.sentences[case.bad]:
        yield f"{case.victim.name} has other sentences than its text"


def _wrong_tables(case: Case, made: Made) -> Iterator[str]:
    try:
        rows = strict_rows(case.source)
    except Refused as fault:
        yield f"{case.source.name} is taken, and a strict reading refuses it ({fault})"
        return
    if len(rows) != len(made.sentences) + len(made.rejected):
        yield f"{len(rows)} rows, of which {len(made.sentences) + len(made.rejected)} are told of"
    by_id = {row.get("image_id", "").strip() or Path(row.get("image", "")).stem: row for row in rows}
    for name, sentences in made.sentences.items():
        row = by_id.get(name)
        if row is None:
            yield f"{name!r} is in no row"
            continue
        if tuple(report_sentences(parse_report(row["report"].strip()))) != sentences:
            yield f"{name!r} has other sentences than its report"
        yield from _wrong_pixels(
            case.source.parent / row["image"].strip(),
            made.pixels[name],
            case.source.parent / row["image"].strip(),
        )
        for finding, value in made.labels[name].items():
            if not _same_label(row.get(finding, ""), value):
                yield f"{name!r} has another label of {finding!r} than its row"


def _same_label(cell: str, value: float) -> bool:
    if math.isnan(value):
        return cell.strip().lower() in ("", "nan")
    return bool(re.fullmatch(r"-?\d+(?:\.0+)?", cell.strip())) and float(cell) == value


def _wrong_xml(case: Case, made: Made) -> Iterator[str]:
    others = set(made.sentences) - set(case.good)
    if not others:
        return
    try:
        parts = _abstract(case.victim.read_bytes())
    except (OSError, ExpatError, ValueError, LookupError):
        yield f"{case.victim.name} is taken, and is no XML"
        return
    if parts is None:
        yield f"{case.victim.name} is taken, and declares entities"
        return
    report = "\n\n".join(
        f"{label.upper()}: {text.strip()}" for label, text in parts if label and text.strip()
    )
    expected = tuple(report_sentences(parse_report(report)))
    for name in others:
        if made.sentences[name] != expected:
            yield f"{name!r} has other sentences than {case.victim.name}"


def _abstract(data: bytes) -> list[tuple[str, str]] | None:
    """(label, text) of each AbstractText; None where the file has a document type."""
    parser = expat.ParserCreate()
    found: list[tuple[str, list[str]]] = []
    inside, declares = [0], [False]

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == "AbstractText":
            found.append((attributes.get("Label", ""), []))
        inside[0] += name == "AbstractText"

    def end(name: str) -> None:
        inside[0] -= name == "AbstractText"

    def text(words: str) -> None:
        if inside[0]:
            found[-1][1].append(words)

    def doctype(*_: object) -> None:
        declares[0] = True

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, doctype
    parser.Parse(data, True)
    return None if declares[0] else [(label, "".join(words)) for label, words in found]


_CHECKS = {"films": _wrong_films, "reports": _wrong_reports, "tables": _wrong_tables, "xml": _wrong_xml}
