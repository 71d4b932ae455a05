"""What a report plainly says of a finding, to hold its labels against.

Meant for doubts about labels, not for making them: a sentence counts only when it is beyond argument. A
mention beside any word of doubt, change or history counts for nothing.
"""

import re
from collections.abc import Sequence
from enum import IntEnum

_WORDS_OF = {
    "atelectasis": r"atelectas[ie]s|atelectatic",
    "cardiomegaly": r"cardiomegaly",
    "consolidation": r"consolidations?",
    "edema": r"(?:pulmonary|interstitial|alveolar) (?:o?edema)",
    "fracture": r"fractures?",
    "lunglesion": r"(?:pulmonary|lung) (?:nodules?|masse?s?|lesions?)",
    "pleuraleffusion": r"pleural effusions?",
    "pneumonia": r"pneumonias?",
    "pneumothorax": r"pneumothora(?:x|ces)",
}
"""Words that name a finding of CheXpert and nothing else."""

_NAMELESS = frozenset(
    ("nofinding", "supportdevices", "lungopacity", "pleuralother", "enlargedcardiomediastinum")
)
"""Labels whose name is not what reports call them; nothing is said of them."""

_NEGATION = r"\b(?:no|without|free of|negative for|absence of|no evidence of)\b"
_TURN = r"[;:]|\b(?:but|however|although|though|except|change|increase|decrease|interval|new|worsening)\b"
_DOUBT = re.compile(
    r"\b(?:no|not|nor|without|free|negative|absen\w*|resol\w*|clear\w*|may|might|could|can|cannot|possib\w*|"
    r"probab\w*|likely|suspi\w*|suggest\w*|concern\w*|question\w*|versus|vs|or|if|rule|evaluat\w*|assess\w*|"
    r"exclu\w*|prior|previous\w*|history|former\w*|old|healed|improv\w*|remov\w*|unlikely|equivocal|"
    r"differential|risk|develop\w*|compar\w*|than|rather|lack\w*|never|denies|prevent\w*)\b|[?/]|_{2,}|X{3,}",
    re.IGNORECASE,
)


class Stance(IntEnum):
    """What is said, as the label of it."""

    DENIED = 0
    AFFIRMED = 1


def finding_pattern(label: str) -> re.Pattern[str] | None:
    """What a report calls the finding of a label column; None for a label that is no name."""
    key = re.sub(r"[\s_]+", "", label).casefold()
    if key in _NAMELESS:
        return None
    words = _WORDS_OF.get(key) or r"[\s-]+".join(map(re.escape, re.split(r"[\s_]+", label.strip()))) + "s?"
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE) if re.search(r"[^\W\d_]{4}", label) else None


def plain_stance(sentences: Sequence[str], pattern: re.Pattern[str]) -> Stance | None:
    """What all the plain mentions of a finding agree on; None without one, or where they differ."""
    mentions = [_stance(sentence, pattern) for sentence in sentences if pattern.search(sentence)]
    told = set(mentions)
    return told.pop() if len(told) == 1 else None


def _stance(sentence: str, pattern: re.Pattern[str]) -> Stance | None:
    """Affirmed where no word of doubt stands in the sentence, denied in the reach of a `no`, else neither."""
    denied = rf"{_NEGATION}(?:(?!{_TURN}).)*?(?:{pattern.pattern})"
    match = re.search(denied, sentence, re.IGNORECASE)
    if match:
        rest = sentence[: match.start()] + sentence[match.end() :]
        return None if pattern.search(rest) else Stance.DENIED
    return None if _DOUBT.search(sentence) else Stance.AFFIRMED
