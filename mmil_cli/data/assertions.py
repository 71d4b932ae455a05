"""What a sentence says of a finding it names: that it is there, is not, or may be.

Cues and their scopes in the manner of NegEx (Chapman et al. 2001, J Biomed Inform 34): a cue before the
finding reaches forward, one after it reaches back, and words that turn the sentence to something else end the
reach. The cues and the ends of scopes are ours.
"""

import re
from dataclasses import replace

from mmil_cli.data.mentions import Mention, alternatives

POSITIVE, NEGATIVE, UNCERTAIN = 1, 0, -1


def _cues(text: str) -> re.Pattern[str]:
    return re.compile(rf"\b{alternatives(text)}\b")


_NO_NEGATION = _cues(
    r"""no (?:\w+[ ,]+){0,4}?(?:change|increase|decrease|improvement|worsening|progression|difference)s?
    | without (?:\w+ ){0,3}?(?:change|increase|decrease|improvement|worsening|progression)s?
    | not (?:\w+ ){0,2}?(?:changed|increased|decreased|improved|worsened|progressed|resolved|cleared)
    | not only | no longer | no doubt | no (?:prior|previous|comparison)"""
)
"""Words of denial that deny a change, not the finding: `no change in effusion`."""

_DENIAL = _cues(
    r"""no | without | w/o | neither | nor | absence of | lack of | absent | negative for | free of | clear of
    | devoid of | never | den(?:y|ies) | no longer (?:\w+ )?(?:any|shows?|demonstrates?)
    | (?:does|do|did) not (?:\w+ )?(?:show|demonstrate|have|suggest|represent|reveal)
    | (?:is|are) not (?:\w+ )?(?:suggestive of|consistent with|compatible with|typical of)"""
)
_UNDONE = _cues(
    r"""(?<!near )(?<!near-)(?<!near complete )(?<!near-complete )(?<!partial )(?<!incomplete )resolution of
    | disappearance of | removal of | complete clearing of | (?<![a-z] )resolved | interval resolved"""
)
"""What was there and is no more: reaches no further than a comma."""

_DOUBT = re.compile(
    _cues(
        r"""possib(?:le|ly|ility) | probabl[ey] | likely | may | might | could | perhaps | presum\w+
        | potential(?:ly)? | suggest\w* | suspicio\w+ | suspect\w* | concern(?:ing)? (?:for|of)
        | worrisome for | question(?:able|ed)? | query | equivocal | borderline | versus | vs | consider\w*
        | differential | rather than | rule out | r/o | evaluate for | to exclude | uncertain
        | (?:cannot|can ?not|can't|could not|difficult to|hard to|does not|not) (?:\w+ )?(?:exclude|rule out)
        | indeterminate for | favou?r(?:s|ed|ing)?"""
    ).pattern
    + r"|\?"
)
_SUPPOSED = _cues(
    r"""if there (?:is|are|were) | if | history of | h/o | hx of | evaluation for | recommended (?:for|to)
    | please note that | correlat\w+ (?:clinically )?(?:for|with|as to) | symptoms of
    | clinical (?:concern|suspicion|question|symptoms|signs)"""
)
"""Speaks of the patient's past or of what to do, not of the film."""

_END = re.compile(
    _cues(
        r"""but | however | although | though | while | whereas | except(?:ing)? | aside from | apart from
        | other than | besides | nevertheless | yet | despite | otherwise | showing | instead
        | (?<!consistent )(?<!compatible )(?<!keeping )with | there (?:is|are)
        | (?:again|also) (?:seen|noted|demonstrated) (?:is|are)"""
    ).pattern
    + r"|[;:]|\.(?!\d)"
)
"""Where the reach of a cue ends."""

_NEW_PHRASE = alternatives(
    r"""there | the | an? | this | it | its | also | again | now | trace | tiny | small | mild\w* | minimal\w*
    | moderate\w* | large | severe\w* | slight\w* | stable | unchanged | persist\w+ | new | old | healed
    | chronic | increas\w+ | decreas\w+ | improv\w+ | worsen\w+ | bilateral | bibasilar | left | right | both
    | multiple | several | heart | cardiac | likely | possibl[ey] | probabl[ey] | residual | low | patchy
    | linear | only | single | known | interval"""
)
_BREAK = re.compile(rf"(?:,| and) {_NEW_PHRASE}\b")
"""What opens a phrase of its own after a comma, rather than going on with a list."""

_VERB = re.compile(r"\b(?:is|are|was|were|has|have|remains?|persists?|appears?)\b")
_LEADING_VERB = re.compile(r"\b(?:is|are|was|were|has|have|does|can|could|appears?)(?: also| now| still)?$")
_JOINT = re.compile(r",| and\b")
_OR = re.compile(r"\b(?:or|nor)\b|/")

_VERBS = r"(?:(?:is|are|was|were|has|have|had|being) )?"
_ADVERBS = r"(?:(?:now|since|been|completely|entirely|fully|essentially|interval|again|also|currently) )*"
_NOT_ALL = r"(?<!not )(?<!partially )(?<!nearly )(?<!almost )"
_GONE = re.compile(
    _cues(
        rf"""{_VERBS}{_ADVERBS}{_NOT_ALL}(?:resolved|cleared|absent|removed|excluded|ruled out|disappeared)
        | {_VERBS}{_ADVERBS}(?:gone|withdrawn|denied) | is negative
        | (?:not|no longer) (?:\w+ly )?(?:well )?(?:seen|identified|present|visuali[sz]ed|appreciated|evident)
        | (?:not|no longer) (?:\w+ly )?(?:detected|demonstrated|noted|apparent|visible|observed|found|shown)
        | not (?:enlarged|suggested|suspected|recogni[sz]ed)
        | (?:is|are|appears?|remains?) (?:\w+ )?within (?:\w+ )?limits"""
    ).pattern
    + r"|^ ?: ?(?:none|no|absent|negative|nil)\b"
)
_NOT_EXCLUDED = re.compile(
    r"\b(?:cannot|can ?not|can't|could not|not|difficult to|hard to) (?:be )?(?:\w+ly )?(?:be )?(?:\w+ly )?"
    r"(?:excluded?|ruled? out)\b"
)
_IS = r"(?:is|are|was|were|remains?) (?:also |thought |felt |strongly |again )*"
_OF_SIZE = r"unchanged|stable|similar|chronic|old|due|related|secondary|increas\w+|decreas\w+|small|mild"
_DOUBTED = re.compile(
    _cues(
        rf"""{_IS}(?:un|less |more |most )?likely(?! (?:{_OF_SIZE})) | suspected | questioned
        | {_IS}(?:possible|probable|equivocal|suggested|considered|favou?red|of concern|in the differential)
        | {_IS}(?:a (?:possibility|concern|consideration)|difficult to (?:exclude|assess))
        | (?:may|might|could) (?:also )?be (?:present|considered|there) | (?:should|must) be considered"""
    ).pattern
    + r"|^ ?\?|^(?: (?!and\b)\w+){0,3} (?:versus|vs)\b"
)
_EXPLAINED = re.compile(
    r"\b(?:may|might|could|probably|likely|possibly) (?:be|represents?|reflects?|correspond)"
)
"""What is said after a shadow that may be a lesion, or something else: `nodular opacity may be a nipple`."""

_ALTERNATIVE = re.compile(r"^(?: \w+)? or (?!tubes?\b|lines?\b)\w+|^/\w+")
_OTHER_SUBJECT = re.compile(r" and (?:no|the|there)\b|, (?!and\b|or\b)[^,]*\w[^,]*$")
"""Between a finding and a cue: `infiltrate, pneumonia (is possible)`."""

_REACH = 80
"""Most characters between a finding and a cue that follows it."""

_BEFORE = 400
"""Most characters around a finding that are read: the time stays linear whatever is called a sentence."""


def assertion(sentence: str, mention: Mention) -> int | None:
    """1 there, 0 not there, -1 uncertain; None where the words do not speak of this film.

    Args:
        sentence: of lower case, single blanks, without de-identified gaps.
        mention: one of `find_mentions(sentence)`.
    """
    start = max(0, mention.start - _BEFORE)
    sentence = sentence[start : mention.end + _BEFORE]
    mention = replace(mention, start=mention.start - start, end=mention.end - start)
    if _reached(_SUPPOSED, sentence, mention):
        return None
    if _follows(_NOT_EXCLUDED, sentence, mention):
        return UNCERTAIN
    if mention.said != POSITIVE:
        return _of_a_state(sentence, mention)
    denied = _reached(_DENIAL, sentence, mention) or _reached(_UNDONE, sentence, mention, over_commas=False)
    if denied or _follows(_GONE, sentence, mention):
        return NEGATIVE
    doubted = _reached(_DOUBT, sentence, mention) or _follows(_DOUBTED, sentence, mention)
    if mention.finding == "Lung Lesion":
        doubted = doubted or _follows(_EXPLAINED, sentence, mention)
    return UNCERTAIN if doubted or _one_of_two(sentence, mention) else POSITIVE


def _of_a_state(sentence: str, mention: Mention) -> int:
    """The heart's `normal` may be doubted, never denied; `borderline` is doubt already."""
    return UNCERTAIN if mention.said == UNCERTAIN or _reached(_DOUBT, sentence, mention) else NEGATIVE


def _reached(cues: re.Pattern[str], sentence: str, mention: Mention, *, over_commas: bool = True) -> bool:
    """Whether a cue before the mention, or within it, reaches it."""
    harmless = [match.span() for match in _NO_NEGATION.finditer(sentence)]
    for cue in cues.finditer(sentence, 0, mention.end):
        if any(start <= cue.start() < end for start, end in harmless):
            continue
        stopped = not over_commas and "," in sentence[cue.end() : mention.start]
        if cue.start() >= mention.start or not (stopped or _is_cut(sentence, cue.end(), mention)):
            return True
    return False


def _is_cut(sentence: str, start: int, mention: Mention) -> bool:
    """Whether the words from a cue to a mention turn to something else."""
    between = sentence[start : mention.start]
    if _END.search(between):
        return True
    list_goes_on = _OR.search(_rest_of_list(sentence, mention.end))
    for joint in _JOINT.finditer(between):
        new_clause = _VERB.search(between[: joint.start()])
        new_phrase = _BREAK.match(sentence, start + joint.start())
        if new_clause or (new_phrase and not list_goes_on and not _OR.search(between[joint.end() :])):
            return True
    return False


def _rest_of_list(sentence: str, start: int) -> str:
    """What may still belong to a list after a mention: up to the end of its clause."""
    ends = [match.start() for pattern in (_END, _VERB) if (match := pattern.search(sentence, start))]
    return sentence[start : min(ends, default=len(sentence))]


def _follows(cues: re.Pattern[str], sentence: str, mention: Mention) -> bool:
    """Whether a cue after the mention reaches back to it."""
    tail = sentence[mention.end : mention.end + _REACH]
    cue = cues.search(tail)
    if cue is None:
        return False
    between = tail[: cue.start()].removesuffix(" ")
    # The verb that leads up to the cue ("is no longer seen") may stand before it, another one may not.
    led = _LEADING_VERB.sub("", between)
    if cue.group().startswith(":"):
        return not between
    return not (_END.search(led) or _VERB.search(led) or _OTHER_SUBJECT.search(led))


def _one_of_two(sentence: str, mention: Mention) -> bool:
    """`atelectasis or scarring`: one of them is there, and which is not said."""
    if mention.finding == "Support Devices":
        return False
    after, before = sentence[mention.end :], sentence[: mention.start]
    return bool(_ALTERNATIVE.match(after) or re.search(r"\bor(?: \w+)? $", before))
