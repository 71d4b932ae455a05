"""A report into named sections, and those that describe the film into sentences."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmil_cli.data.headers import (
    DESCRIBING,
    PRELIMINARY,
    SECTION_OF_SPELLING,
    is_usual,
    is_view,
    only_view_words,
    section_of,
)
from mmil_cli.data.sentences import has_words, normalise, split_sentences, unwrap

__all__ = ["Section", "normalise", "parse_report", "report_sentences", "split_sentences"]


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report.

    Attributes:
        name: lower case; the spellings of the usual headers are folded to one (`findings`, `impression`,
            `findings and impression`, `comparison`, `history`, `indication`, `technique`, `examination`,
            `recommendation`, `notification`, `addendum`, `wet read`); other headers keep their words, and
            text before the first header is `text`.
        text: with hard wraps undone, paragraphs apart by an empty line.
    """

    name: str
    text: str


_RULE = re.compile(r"^[ \t]*[_=*-]{10,}[ \t]*$", re.MULTILINE)
_TITLE = re.compile(r"^[ \t]*(?:FINAL REPORT|RADIOLOGY REPORT)[ \t]*:?", re.MULTILINE)
_AT_START = re.compile(
    r"[ \t#*]*(?P<name>[A-Za-z](?:[A-Za-z0-9 \t,./&()'_-]|(?<=\d):(?=\d)){1,80}?)[ \t*]*:(?!\d)\**"
)
_ALONE = re.compile(r"[ \t#*]*(?P<name>[A-Z][A-Za-z /&]{4,40}?)[ \t*]*$")
_BARE = re.compile(
    r"[ \t]*(?P<name>(?:FINDINGS?|IMPRESSIONS?)(?: (?:AND|OR|/|&) IMPRESSIONS?)?|CONCLUSIONS?|ADDENDUM"
    r"|WET READ)[ \t]*[-.]?[ \t]+(?=[A-Z0-9_(])"
)
_INNER_NAMES = "|".join(
    re.escape(name.upper()) for name in sorted(SECTION_OF_SPELLING, key=len, reverse=True) if len(name) > 6
)
_WITHIN = re.compile(
    rf"(?<=\s)(?P<capitals>{_INNER_NAMES})[ \t]*:"
    r"|(?<=[.?!)] )[ ]*(?P<title>Findings|Impression|Conclusion|Comparison|Indication|Technique|History)[ ]?:"
)
_PROSE = re.compile(r"[a-z]{2}(?: _{2,})?[)\"']?[.?!](?:\s|$)")
"""The end of a sentence, which a title (`PORTABLE CHEST OF ___`) has not."""


def parse_report(text: str) -> list[Section]:
    """The sections of a report in order; parts between full lines of underscores are read on their own."""
    return [section for block in _RULE.split(_TITLE.sub("\n", text)) for section in _parse_block(block)]


def report_sentences(sections: Sequence[Section]) -> list[str]:
    """The sentences that describe the film: findings and impression, or the plain paragraphs without them.

    A report without any header is all description. Findings may lack their header: paragraphs of prose that
    no header speaks for, before the impression, are taken for them. Text that stands directly under a header
    of another kind (history, comparison, ...) is never taken; a preliminary reading counts only when there
    is nothing else.
    """
    names = [section.name for section in sections]
    described = [
        s for section in sections if section.name in DESCRIBING for s in split_sentences(section.text)
    ]
    if "impression" in names and not {"findings", "findings and impression"} & set(names):
        before = sections[: names.index("impression")]
        paragraphs = (p for section in before for p in _undirected_paragraphs(section))
        described = [s for p in paragraphs if _PROSE.search(p) for s in split_sentences(p)] + described
    return described or _plain_sentences(sections)


def _plain_sentences(sections: Sequence[Section]) -> list[str]:
    if [section.name for section in sections] == ["text"]:
        return split_sentences(sections[0].text)
    paragraphs = [p for section in sections for p in _undirected_paragraphs(section) if has_words(p)]
    prose = [paragraph for paragraph in paragraphs if _PROSE.search(paragraph)]
    preliminary = [section.text for section in sections if section.name in PRELIMINARY]
    taken = prose or paragraphs[-1:] or preliminary[-1:]
    return [sentence for paragraph in taken for sentence in split_sentences(paragraph)]


def _undirected_paragraphs(section: Section) -> list[str]:
    """Paragraphs that no header speaks for: the first one after a header belongs to it."""
    if section.name in PRELIMINARY or section.name == "notification":
        return []
    paragraphs = section.text.split("\n\n")
    return paragraphs if section.name == "text" else paragraphs[1:]


def _parse_block(block: str) -> list[Section]:
    parts: list[tuple[str, list[str]]] = [("text", [])]
    for line in block.splitlines():
        for header, rest in _cut_headers(line):
            name, kept = section_of(header, parts[-1][0]) if header else (parts[-1][0], True)
            if name != parts[-1][0] or not kept:
                parts.append((name, []))
            if header and is_view(header) and only_view_words(rest):
                continue
            parts[-1][1].append(f"{header.strip()}: {rest.strip()}" if header and kept else rest)
    sections = (Section(name, unwrap("\n".join(lines))) for name, lines in parts)
    return [section for section in sections if section.text]


def _cut_headers(line: str) -> list[tuple[str, str]]:
    """A line as (header, what follows it) pairs; the first header is empty when the line opens with text.

    What follows keeps its columns (blanks stand for the header), so that wraps are still seen.
    """
    spans = []
    opening = _opening_header(line)
    if opening:
        spans.append((*opening.span(), opening["name"]))
        second = _AT_START.match(line, opening.end())
        if second and is_view(second["name"]) and section_of(opening["name"], "")[0] in DESCRIBING:
            spans[0] = (opening.start(), second.end(), opening["name"])
    for match in _WITHIN.finditer(line, spans[0][1] if spans else 0):
        spans.append((*match.span(), match["capitals"] or match["title"]))
    starts = [start for start, _, _ in spans] + [len(line)]
    cuts = [] if spans and not line[: starts[0]].strip() else [("", line[: starts[0]])]
    for (_, end, name), following in zip(spans, starts[1:], strict=True):
        cuts.append((name, " " * end + line[end:following]))
    return cuts


def _opening_header(line: str) -> re.Match[str] | None:
    match = _AT_START.match(line)
    if match and (is_usual(match["name"]) or _in_capitals(match["name"])):
        return match
    match = _ALONE.match(line)
    if match and len(match["name"]) > 6 and is_usual(match["name"]):
        return match
    return _BARE.match(line)


def _in_capitals(name: str) -> bool:
    return name.upper() == name and re.search(r"[A-Z]{3}", name) is not None
