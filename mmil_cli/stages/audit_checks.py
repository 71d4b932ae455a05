"""What an audit looks for, which of it is a hard fault, and a fault that was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Hard: numbers from this dataset would be wrong. Soft: a person should look, and may find it is so."""

    HARD = "hard"
    SOFT = "soft"


@dataclass(frozen=True)
class Check:
    """One thing looked for.

    Attributes:
        unit: what is counted, such as films.
        meaning: what it is when found, as a sentence.
        advice: the next step.
    """

    severity: Severity
    unit: str
    meaning: str
    advice: str


def _hard(unit: str, meaning: str, advice: str) -> Check:
    return Check(Severity.HARD, unit, meaning, advice)


def _soft(unit: str, meaning: str, advice: str) -> Check:
    return Check(Severity.SOFT, unit, meaning, advice)


CHECKS: dict[str, Check] = {
    "damaged-shards": _hard(
        "shards",
        "Files of the dataset are missing, or are not those that preprocess wrote; their rows were not read.",
        "Copy the folder again, or run mmil preprocess with --overwrite.",
    ),
    "lfs-pointers": _hard(
        "files or films",
        "Git LFS left a pointer in place of a shard or of a report.",
        "Run git lfs pull; for reports, then mmil preprocess again.",
    ),
    "damaged-films": _hard(
        "films", "The stored bytes are no film of the declared size.", "Run mmil preprocess with --overwrite."
    ),
    "blank-films": _hard(
        "films",
        "Nearly all of the film is one grey level.",
        "List their image ids in a file and give it to mmil preprocess --exclude.",
    ),
    "empty-reports": _hard(
        "films",
        "The film's report has no sentence with a word in it.",
        "List their study ids in a file and give it to mmil preprocess --exclude.",
    ),
    "leaked-patients": _hard(
        "patients",
        "Films of the patient are in more than one split.",
        "Mend the split column of the source, or leave it out to have patients split by their ids.",
    ),
    "leaked-studies": _hard(
        "studies",
        "Films of the study are in more than one split, under different patient ids.",
        "Mend the patient ids of the source.",
    ),
    "leaked-films": _hard(
        "films",
        "The same pixels are in more than one split.",
        "Are they one patient under two ids? Give both one id, or leave the copies out with --exclude.",
    ),
    "leaked-near-films": _soft(
        "pairs",
        "Films in different splits that are alike but for brightness, contrast or size.",
        "Look at the pictures; one film under two names belongs in one split, or is left out with --exclude.",
    ),
    "leaked-reports": _soft(
        "texts",
        "Reports in different splits say the same words, as short normal reports do.",
        "Retrieval counts such reports as matches; a text of many words in two splits may be a copied study.",
    ),
    "duplicate-films": _soft(
        "films",
        "The same pixels under several image ids of one split; of n copies n are counted.",
        "Leave all but one out with --exclude, or they weigh more than others.",
    ),
    "near-duplicate-films": _soft(
        "pairs",
        "Films of one split that are alike but for brightness, contrast or size.",
        "Look at the pictures, and leave copies out with --exclude.",
    ),
    "duplicate-reports": _soft(
        "studies",
        "Studies of one split whose reports say the same words; of n studies n are counted.",
        "Usual for normal reports; for others, look whether a study was copied.",
    ),
    "inverted-films": _soft(
        "films",
        "The film looks like the negative of the others of its view.",
        "Look at the pictures; mend the files, or leave them out with --exclude.",
    ),
    "turned-films": _soft(
        "films",
        "The header says that the film is mirrored or lies on its side (Patient Orientation).",
        "Headers are often wrong: look at the pictures; leave films out with --exclude where it is true.",
    ),
    "contradicted-labels": _soft(
        "labels",
        "The label is 1 and the report plainly denies it, or 0 and the report plainly affirms it.",
        "Read the sentences; the label table may belong to other reports, or have its signs changed.",
    ),
    "unknown-tokens": _soft(
        "splits",
        "More than 1 in 100 tokens of the split are unknown to the tokenizer.",
        "Use a tokenizer of the reports' language, or let pretrain learn one.",
    ),
}
"""All checks by name, in the order of the page."""

LISTED = 500
"""Examples kept of a check; all are counted."""


@dataclass(frozen=True)
class Example:
    """One case: rows of the dataset, and a word about them."""

    rows: tuple[int, ...]
    note: str


@dataclass(frozen=True)
class Found:
    """What a check has found.

    Attributes:
        count: of the check's unit, at least 1.
        examples: the first cases, at most `LISTED`.
    """

    name: str
    count: int
    examples: tuple[Example, ...]

    @property
    def check(self) -> Check:
        """What was looked for."""
        return CHECKS[self.name]

    @property
    def is_hard(self) -> bool:
        """Whether it fails the audit."""
        return self.check.severity is Severity.HARD


def found(name: str, cases: Sequence[Example], *, count: int | None = None) -> list[Found]:
    """What a check has found; an empty list without cases. Counted are the cases unless `count` says more."""
    return [Found(name, count or len(cases), tuple(cases[:LISTED]))] if cases else []


def found_json(item: Found, image_ids: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """A finding for `audit.json`, with the image ids of each example."""
    check = item.check
    listed = [
        {"images": list(ids), "note": example.note}
        for ids, example in zip(image_ids, item.examples, strict=True)
    ]
    return {
        "check": item.name,
        "severity": str(check.severity),
        "count": item.count,
        "unit": check.unit,
        "meaning": check.meaning,
        "advice": check.advice,
        "listed": listed,
    }
