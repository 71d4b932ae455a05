"""One record into what the dataset keeps of it: the work of one worker process, without any Arrow."""

from dataclasses import dataclass, replace
from pathlib import Path

from mmil_cli.data.film import normalise_view
from mmil_cli.data.geometry import Affine
from mmil_cli.data.images import read_film, resize_film
from mmil_cli.data.labeler import label_report
from mmil_cli.data.manifest import Record, RecordReason
from mmil_cli.data.pixels import Encoding, encode
from mmil_cli.data.reasons import Reason, rejected
from mmil_cli.data.reports import Section, normalise, parse_report, report_sentences
from mmil_cli.data.texts import NoText, read_text
from mmil_cli.errors import RejectedRecord

_NO_TEXT = frozenset({"nan", "none", "null", "n/a", "na", "<na>"})
"""What other programs write for an empty cell."""

_LFS_POINTER = "version https://git-lfs.github.com/"


@dataclass(frozen=True)
class Example:
    """A record with its film and report read.

    Attributes:
        image: the stored film, encoded; `height` x `width` pixels.
        view, orientation: of the film, "" where unknown; see `Film`.
        text_key: equal for reports that say the same words.
        to_source: stored pixel coordinates to those of the original film.
    """

    record: Record
    image: bytes
    height: int
    width: int
    source_height: int
    source_width: int
    spacing_mm: tuple[float, float] | None
    to_source: Affine
    view: str
    orientation: str
    sections: tuple[Section, ...]
    sentences: tuple[str, ...]
    text_key: str


@dataclass(frozen=True)
class Rejection:
    """A record left out, and why."""

    record: Record
    reason: str
    detail: str


def convert(
    record: Record,
    *,
    side: int,
    encoding: Encoding,
    label_reports: bool = False,
    keep_burned_in: bool = False,
) -> Example | Rejection:
    """Read, shrink and encode the film, cut the report into sentences; a fault of the record rejects it.

    With `label_reports` the labels are those that the sentences tell, in place of the record's own. Films
    that say of themselves that text is burned in are rejected, but for `keep_burned_in`.
    """
    try:
        example = _convert(record, side, encoding, keep_burned_in=keep_burned_in)
    except RejectedRecord as fault:
        return Rejection(record, str(fault.reason), fault.detail)
    if not label_reports:
        return example
    return replace(example, record=replace(record, labels=label_report(example.sentences)))


def _convert(record: Record, side: int, encoding: Encoding, *, keep_burned_in: bool) -> Example:
    if record.excluded:
        raise RejectedRecord(RecordReason.EXCLUDED, "left out by the list given to --exclude or --only")
    if record.fault:
        raise RejectedRecord(*record.fault)
    if record.split is None:
        raise RejectedRecord(
            RecordReason.MISSING_SPLIT, "the source names a split for others but not for this"
        )
    sections, sentences = _text(record) if record.needs_report else _no_text(record)
    if record.image is None:
        raise RejectedRecord(Reason.MISSING_FILE, "the row names no image")
    film = read_film(record.image)
    if film.burned_in and not keep_burned_in:
        raise rejected(Reason.BURNED_IN, record.image, "says of itself that text is burned into its picture")
    stored = resize_film(film, side=side)
    return Example(
        record=record,
        image=encode(stored.pixels, encoding),
        height=stored.pixels.shape[0],
        width=stored.pixels.shape[1],
        source_height=film.pixels.shape[0],
        source_width=film.pixels.shape[1],
        spacing_mm=film.spacing_mm,
        to_source=stored.to_source,
        view=normalise_view(record.view) or film.view or "",
        orientation=film.orientation or "",
        sections=sections,
        sentences=sentences,
        text_key="\n".join(normalise(sentence) for sentence in sentences),
    )


def _text(record: Record) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """Sections and describing sentences of the report, never none."""
    report = _report(record)
    if not report.strip():
        raise RejectedRecord(RecordReason.EMPTY_REPORT, f"{_told(record)} is empty")
    sections = tuple(parse_report(report))
    sentences = tuple(report_sentences(sections))
    if not sentences:
        raise RejectedRecord(
            RecordReason.EMPTY_REPORT, f"{_told(record)} has no sentence that describes the film"
        )
    return sections, sentences


def _no_text(record: Record) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """Nothing, for a film that is kept for its labels; one without any label is good for nothing."""
    if all(label is None for label in record.labels):
        raise RejectedRecord(RecordReason.NO_LABELS, "the film has neither a report nor a label")
    return (), ()


def _report(record: Record) -> str:
    if record.report is None and record.report_path is None:
        raise RejectedRecord(RecordReason.MISSING_REPORT, "the row names no report")
    text = record.report if record.report is not None else _read_text(record.report_path)
    if "\0" in text:
        raise RejectedRecord(RecordReason.UNREADABLE_REPORT, f"{_told(record)} holds null characters")
    if text.startswith(_LFS_POINTER):
        raise RejectedRecord(
            RecordReason.LFS_POINTER, f"{_told(record)} is a Git LFS pointer; run git lfs pull"
        )
    return "" if text.strip().casefold() in _NO_TEXT else text


def _told(record: Record) -> str:
    """What a sentence calls the report: its file, where it has one of its own."""
    return record.report_path.name if record.report is None and record.report_path else "the report"


def _read_text(path: Path | None) -> str:
    assert path is not None
    try:
        return read_text(path)
    except FileNotFoundError as fault:
        raise RejectedRecord(RecordReason.MISSING_REPORT, f"{path.name} does not exist") from fault
    except NoText as fault:
        raise RejectedRecord(RecordReason.UNREADABLE_REPORT, f"{path.name} {fault}") from fault
    except ValueError as fault:
        raise RejectedRecord(
            RecordReason.UNREADABLE_REPORT, "its file name holds a null character"
        ) from fault
    except OSError as fault:
        raise RejectedRecord(
            RecordReason.UNREADABLE_REPORT, f"{path.name} cannot be read ({fault.strerror})"
        ) from fault
