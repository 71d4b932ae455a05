"""The text of a DICOM structured report (SR): what its content tree says under the usual headings, no more.

Of the tree (DICOM PS3.3, C.17.3) only TEXT, CODE and NUM items are read, and only under headings that name a
part of a report; names of people, dates, places and references never are, whatever heading they stand under.
Headings are told by their code (PS3.16, CID 7001 and 7002), else by their meaning.
"""

from collections.abc import Iterator

from pydicom.dataset import Dataset

from mmil_cli.data.headers import DESCRIBING, fold, section_of

MODALITY = "SR"
_DEEPEST = 32
_CONTEXT = ("HAS OBS CONTEXT", "HAS ACQ CONTEXT")
"""Items that say who, where and how, and not what is in the film."""
_OF_CODE = {
    **dict.fromkeys(("121070", "121071", "59776-5", "18782-3", "IHE.09"), "findings"),
    **dict.fromkeys(("121072", "121073", "121076", "121077", "121111", "19005-8"), "impression"),
    **dict.fromkeys(("121060", "11329-0"), "history"),
    **dict.fromkeys(("121109", "18785-6"), "indication"),
    **dict.fromkeys(("18834-2",), "comparison"),
    **dict.fromkeys(("121074", "121075", "18783-1"), "recommendation"),
}
_PARTS = DESCRIBING | {"history", "indication", "comparison", "technique", "recommendation", "addendum"}
"""Headings that are read; all others are left where they are."""

_WHOLE = ("report text", "narrative")
"""Names of an item that is the report in one piece: it is description but for the headers within it."""


def structured_text(dataset: Dataset) -> str:
    """The report as text with headers, "" when nothing stands under a heading that is known."""
    lines: list[str] = []
    current = None
    for part, text in _parts(dataset, None, 0):
        if part != current:
            lines.append(f"\n{part.upper()}:")
            current = part
        lines.append(text)
    return "\n".join(lines).strip()


def _parts(item: Dataset, heading: str | None, depth: int) -> Iterator[tuple[str, str]]:
    """(section, text) of the items below one, in order; children take the heading that they stand under."""
    if depth > _DEEPEST:
        return
    for child in item.get("ContentSequence") or ():
        if child.get("RelationshipType") in _CONTEXT:
            continue
        own = _section(child)
        section = own or heading
        text = _item_text(child, bare=own is not None or heading is None)
        if section and text:
            yield section, text
        yield from _parts(child, section, depth + 1)


def _section(item: Dataset) -> str | None:
    concept = _concept(item, "ConceptNameCodeSequence")
    if concept is None:
        return None
    by_code = _OF_CODE.get(str(concept.get("CodeValue", "")))
    if by_code:
        return by_code
    meaning = str(concept.get("CodeMeaning", ""))
    if fold(meaning) in _WHOLE:
        return "findings"
    name, words_kept = section_of(meaning, "")
    return name if name in _PARTS and not words_kept else None


def _item_text(item: Dataset, *, bare: bool) -> str:
    """What an item says; a measurement or code says its name too, a text only where it is no heading."""
    name = _meaning(item, "ConceptNameCodeSequence")
    match item.get("ValueType"):
        case "TEXT":
            return str(item.get("TextValue", "")).strip()
        case "CODE":
            value = _meaning(item, "ConceptCodeSequence")
        case "NUM":
            value = _measurement(item)
        case _:
            return ""
    return f"{value}." if value and (bare or not name) else f"{name}: {value}." if value else ""


def _measurement(item: Dataset) -> str:
    measured = _concept(item, "MeasuredValueSequence")
    if measured is None or measured.get("NumericValue") is None:
        return ""
    unit = _concept(measured, "MeasurementUnitsCodeSequence")
    return f"{measured.NumericValue} {unit.get('CodeValue', '') if unit else ''}".strip()


def _meaning(item: Dataset, keyword: str) -> str:
    concept = _concept(item, keyword)
    return str(concept.get("CodeMeaning", "")).strip() if concept else ""


def _concept(item: Dataset, keyword: str) -> Dataset | None:
    sequence = item.get(keyword)
    return sequence[0] if sequence else None
