"""Where a sentence names one of CheXpert's 14 findings: words of a finding, and states of the heart."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
"""CheXpert's 14, in the order of the tables of MIMIC-CXR-JPG."""


@dataclass(frozen=True, slots=True)
class Mention:
    """One place of a sentence that speaks of a finding.

    Attributes:
        start, end: of the words, for the cues around them.
        said: what the words themselves say: 1 the finding, 0 its absence ("heart size is normal"),
            -1 neither ("upper limits of normal").
    """

    finding: str
    start: int
    end: int
    said: int = 1


def alternatives(text: str) -> str:
    """A pattern out of alternatives set apart by ` | `, over as many lines as it takes."""
    return f"(?:{'|'.join(' '.join(text.split()).split(' | '))})"


_WORDS = {
    "Atelectasis": r"""
        atelecta\w* | (?<!vertebral )(?<!vertebral body )collapse\b(?! of (?:the )?\w*\s?vertebra)""",
    "Cardiomegaly": r"cardiomegaly | (?:cardiac|heart) enlargement",
    "Consolidation": r"consolidat\w+",
    "Edema": r"""
        (?<!tissue )o?edema | chf\b | heart failure | cardiac (?:failure|decompensation)
        | kerley | (?:fluid|volume) overload
        | (?:vascular|venous|pulmonary|perihilar|hilar) (?:congestion|engorgement)""",
    "Enlarged Cardiomediastinum": r"mediastinal (?:widening|enlargement)",
    "Fracture": r"""
        (?<!catheter )(?<!wire )(?<!lead )fractur\w+\b(?!(?: \w+){0,2} (?:leads?|wires?|catheters?))""",
    "Lung Lesion": r"""
        (?:micro|fibro|reticulo)?nodul\w+(?: (?:opacit|densit|opacification)\w*)? | metasta\w+ | carcinoma
        | (?<!thyroid )(?<!breast )(?<!abdominal )mass(?:es)?\b | tumou?rs? | neoplas\w+ | malignan\w+
        | (?:lung|pulmonary|cavitary|parenchymal|focal) lesions?""",
    "Lung Opacity": r"""
        (?<!nodular )opacit(?:y|ies) | (?<!nodular )opacification\w* | infiltrat\w+ | ground ?-?glass
        | air ?-?space (?:disease|process)
        | (?:interstitial|reticular) (?:markings?|prominence|thickening|pattern|abnormalit\w+)""",
    "Pleural Effusion": r"""
        (?<!pericardial )effusions? | pleural fluid | fluid in the (?:\w+ )?pleural
        | (?:hydro|haemo|hemo)(?:pneumo)?thora\w+ | empyema""",
    "Pleural Other": r"""
        pleural (?:and parenchymal |parenchymal )?(?:based )?(?:thickening|scar\w*|plaques?|calcifications?)
        | pleuro-?parenchymal scar\w* | fibrothorax""",
    "Pneumonia": r"""
        (?:broncho)?pneumoni(?:as?|tis)\b | (?<!granulomatous )(?<!prior )infections?\b | infectious""",
    "Pneumothorax": r"(?:hydro|haemo|hemo)?pneumothora\w+ | ptx\b",
    "Support Devices": r"""
        (?:cardiac )?pacemakers? | pacing | pacer\b | a?icd\b | defibrillators? | catheters? | piccs?\b
        | (?:central|picc|subclavian|jugular|ij|venous|arterial|dialysis|midline|support) lines?\b
        | lines? and tubes? | tubes? and lines? | pigtail | drains?\b | tracheostomy | dobb?hoff
        | (?:endotracheal|tracheostomy|tracheal|et|chest|thoracostomy|drainage) tubes? | ett\b
        | (?:nasogastric|orogastric|nasoenteric|enteric|gastric|gastrostomy|feeding|dobb?hoff|ng|og) tubes?
        | ngt\b | ogt\b | port-?a-?caths? | mediports? | (?:infusion|chest|chemo\w*) ports?\b | port placement
        | swan-?ganz | balloon pump | iabp\b | impella\b | ecmo\b | l?vad\b
        | (?<!ureteral )(?<!biliary )stents?\b | stimulators?
        | (?:prosthetic|mechanical|replaced|replacement) (?:\w+ )?valves? | valve (?:prosthe\w+|replacement)
        | (?:ekg|ecg|monitor|monitoring|overlying|pacer|pacing|icd) (?:leads?|wires?)
        | (?:support|monitoring|pacing|assist|cardiac) devices?""",
}
_PATTERNS = {name: re.compile(rf"\b{alternatives(words)}") for name, words in _WORDS.items()}

_LISTED = (
    r"(?:(?:,|/| and| or|,? and|,? or)? ?(?:the )?(?:mediastin\w+|hilar|aortic|pulmonary|vascular|pleural))*"
)
_SUBJECTS = {
    "Cardiomegaly": rf"""
        hearts?(?: size)?\b(?! failure) | cardiac{_LISTED} (?:silhouettes?|contours?|size|shadow|borders?)""",
    "Enlarged Cardiomediastinum": rf"""
        cardio[ -]?mediastin\w+ | mediastinum\b | cardiac and mediastinal | cardiac, mediastinal
        | mediastinal{_LISTED} (?:silhouettes?|contours?|width|borders?|structures?|shadow)
        | hilar and mediastinal contours?""",
}
_SIZED = {name: re.compile(rf"\b{alternatives(words)}") for name, words in _SUBJECTS.items()}
"""What has a size of its own."""

_STATE = re.compile(
    r"(?P<unsure>(?:upper|top)[ -]?(?:limits?)?(?: of)?[ -]normal|borderline|mildly prominent)"
    r"|(?P<normal>normal|unremarkable|not (?:\w+ )?(?:enlarged|widened|increased)|within (?:limits|expected))"
    r"|(?P<large>enlarge\w*|increased|\blarge\b|widen\w*|prominen\w+|dilated)"
)
_STATE_BEFORE = re.compile(
    r"(?:(?P<unsure>borderline(?: enlarged| enlargement of(?: the)?)?)"
    r"|(?P<normal>normal(?: sized)?|unremarkable)"
    r"|(?P<large>enlarged|large|widened|(?:enlargement|widening) of(?: the)?|prominen\w+(?: of(?: the)?)?))"
    r"(?: (?:and stable|size of the|appearance of the|appearing|cardiac and|stable))? $"
)
_SAID = {"large": 1, "normal": 0, "unsure": -1}
_ELSEWHERE = re.compile(
    r"[;:]|\.(?!\d)|\b(?:but|however|although|though|while|with|without|there|lungs?|vasculature|aort\w+)\b"
    r"|, (?:no|the|and the)\b|\band (?:the|no|there)\b"
)
"""What follows speaks of something else than the subject's size."""


_REACH = 120
"""Most characters between a subject and its state."""


def find_mentions(sentence: str) -> list[Mention]:
    """All mentions of findings in a sentence of lower case, in the order of `FINDINGS`."""
    named = [
        Mention(name, match.start(), match.end())
        for name, pattern in _PATTERNS.items()
        for match in pattern.finditer(sentence)
    ]
    return sorted([*named, *_sizes(sentence)], key=lambda mention: (mention.start, mention.finding))


def _sizes(sentence: str) -> Iterator[Mention]:
    """Mentions of a size: of the heart, and of the mediastinum."""
    for name, subject in _SIZED.items():
        for match in subject.finditer(sentence):
            before = _STATE_BEFORE.search(sentence, max(0, match.start() - _REACH), match.start())
            after = None if before else _state_after(sentence, match.end())
            if before:
                yield Mention(name, before.start(), match.end(), _said(before))
            elif after:
                yield Mention(name, match.start(), after.end(), _said(after))


def _state_after(sentence: str, start: int) -> re.Match[str] | None:
    """The first state after a subject, unless the sentence turns to something else before."""
    state = _STATE.search(sentence, start, start + _REACH)
    turn = _ELSEWHERE.search(sentence, start, start + _REACH)
    return state if state and (turn is None or state.start() < turn.start()) else None


def _said(match: re.Match[str]) -> int:
    return next(value for name, value in _SAID.items() if match[name])
