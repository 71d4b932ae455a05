"""What radiologists call the parts of a report, and which part each spelling means."""

import re
from difflib import get_close_matches

from mmil_cli.data.sentences import normalise

DESCRIBING = frozenset({"findings", "impression", "findings and impression"})
"""Sections whose sentences say what is in the film."""

PRELIMINARY = frozenset({"addendum", "wet read"})
"""Readings beside the report itself."""

_SPELLINGS = {
    "findings": "finding, observations, report, description, body of report",
    "impression": """impressions, conclusion, conclusions, opinion, interpretation, summary, assessment,
        diagnosis, impression and recommendation, impression and recommendations""",
    "findings and impression": """findings impression, impression and findings, findings and conclusion,
        findings and conclusions""",
    "comparison": """comparisons, compared to, comparison is made to, comparison film, comparison studies,
        comparison study, priors, prior studies""",
    "history": """clinical history, patient history, medical history, clinical information, clinical data,
        history of present illness, clinical context, clinical background""",
    "indication": """indications, reason for exam, reason for examination, reason for study, reason,
        reason for this examination, clinical indication, clinical question, referral, symptoms""",
    "technique": "procedure, procedures, method, technical factors, image quality, dose, contrast",
    "examination": """exam, study, type of examination, exam type, examinations, exam title, view, views,
        procedure name, date of exam, exam date, date, time""",
    "recommendation": "recommendations, recommend, advice, follow up, followup",
    "notification": """notifications, communication, notified, wet read notification, dictated by, signed,
        signed by, electronically signed by, radiologist, attending, transcribed by, reported by, attestation,
        critical result, critical results""",
    "addendum": "final addendum, addenda, addendum begins, addendum report",
    "wet read": """wet reading, wet read version, preliminary report, preliminary read,
        provisional findings impression, provisional findings impression pfi""",
}
SECTION_OF_SPELLING = {
    spelling.strip(): name
    for name, others in _SPELLINGS.items()
    for spelling in (name, *" ".join(others.split()).split(","))
}
_KEYWORDS = (
    *("addendum", "wet read", "impression", "findings", "history", "indication", "comparison", "technique"),
    *("examination", "recommendation", "notification"),
)
_VIEW = re.compile(r"\b(chest|views?|radiographs?|cxr|pa|ap|lateral|portable|frontal|x ?rays?|films?)\b")
_VIEW_WORDS = re.compile(
    r"(?:chest|views?|radiographs?|cxr|pa|ap|lat(?:eral)?|portable|frontal|films?|upright|erect|semi|supine|single"
    r"|one|two|and|bedside|\W)+",
    re.IGNORECASE,
)
_ANATOMY = re.compile(
    r"\b(lungs?|pleura|pleural|heart|cardiac|cardiomediast\w*|mediast\w*|hil(?:a|um|ar)|bones?|osseous"
    r"|skelet\w*|soft tissues?|abdomen|lines?|tubes?|devices?|hardware|airways?|trachea|diaphragms?"
    r"|vascul\w*|thorax|other)\b"
)


def fold(header: str) -> str:
    """The header as the tables spell it: lower case, no punctuation, no gaps."""
    return normalise(header).replace(" or ", " and ")


def is_usual(header: str) -> bool:
    """Whether the words are one of the known spellings, whatever their case."""
    return fold(header) in SECTION_OF_SPELLING


def is_view(header: str) -> bool:
    """Whether a header in capitals names the views: `PA AND LATERAL CHEST`."""
    return header.upper() == header and _VIEW.search(fold(header)) is not None


def only_view_words(text: str) -> bool:
    """Whether what follows such a header only goes on with the name: `CHEST:  AP SEMI-ERECT`."""
    return bool(text.strip()) and text.upper() == text and _VIEW_WORDS.fullmatch(text) is not None


def section_of(header: str, current: str) -> tuple[str, bool]:
    """The section that a header under `current` opens, and whether its words are part of the text.

    Sub-headings by organ (`LUNGS: Clear.`) stay in the section they stand in and keep their words; the name
    of a view (`PA AND LATERAL CHEST:`) opens the findings, or stands within them without being said.
    """
    folded = fold(header)
    usual = SECTION_OF_SPELLING.get(folded) or _nearly(folded)
    if usual:
        return usual, False
    if _VIEW.search(folded):
        return (current if current in DESCRIBING else "findings"), False
    if current in DESCRIBING:
        return current, True
    if _ANATOMY.search(folded):
        return "findings", True
    return (folded, False) if folded else (current, True)


def _nearly(folded: str) -> str | None:
    """The usual section of a longer header that names it, or of a misspelt one."""
    words = set(folded.split())
    if {"findings", "impression"} <= words:
        return "findings and impression"
    for keyword in _KEYWORDS:
        if set(keyword.split()) <= words:
            return keyword
    close = get_close_matches(folded, [name for name in _SPELLINGS if len(name) > 6], n=1, cutoff=0.8)
    return close[0] if close else None
