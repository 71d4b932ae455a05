"""Reports with their sentences marked by hand, and how well a splitter finds the marks."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE = Path(__file__).parent / "samples" / "marked_reports.txt"


@dataclass(frozen=True)
class MarkedReport:
    """A report as its source would give it, and the spans of its sentences.

    Attributes:
        spans: start and end of each sentence, counted in letters and digits alone, so that neither line
            breaks nor stray brackets matter.
    """

    name: str
    text: str
    spans: tuple[tuple[int, int], ...]


def letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


def read_marked_reports() -> list[MarkedReport]:
    return [_marked(*part.split("\n", 1)) for part in SAMPLE.read_text().split("%%% ")[1:]]


def _marked(name: str, marked: str) -> MarkedReport:
    text = re.sub("[{}]", "", marked)
    spans = [
        (len(letters(marked[: match.start()])), len(letters(marked[: match.end()])))
        for match in re.finditer(r"\{[^{}]*\}", marked)
    ]
    wrapped = "\n".join(_wrap(line) for line in text.splitlines()) if name.startswith("mimic") else text
    return MarkedReport(name, wrapped, tuple(spans))


def _wrap(line: str) -> str:
    return textwrap.fill(
        line, 79, subsequent_indent=" ", break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def found_spans(report: MarkedReport, sentences: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where the sentences stand, each looked for after the one before; (-1, -1) for words not there."""
    whole, cursor = letters(report.text), 0
    for sentence in sentences:
        start = whole.find(letters(sentence), cursor)
        if start < 0:
            yield -1, -1
            continue
        cursor = start + len(letters(sentence))
        yield start, cursor


def count_boundaries(report: MarkedReport, sentences: Sequence[str], counts: Counter[str]) -> None:
    """Add the starts and ends that are right, extra and missed."""
    found = [(side, place) for span in found_spans(report, sentences) for side, place in enumerate(span)]
    marked = {(side, place) for span in report.spans for side, place in enumerate(span)}
    right = len(set(found) & marked)
    counts.update(right=right, extra=len(found) - right, missed=len(marked) - right)


def read_openi_spans() -> dict[str, tuple[tuple[int, int], ...]]:
    """Spans by report number; the texts themselves are not part of the project."""
    lines = (SAMPLE.parent / "openi_spans.txt").read_text().splitlines()[1:]
    return {
        name: tuple((int(start), int(end)) for start, end in re.findall(r"(\d+)-(\d+)", spans))
        for name, spans in (line.split(": ") for line in lines)
    }
