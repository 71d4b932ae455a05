"""Radiology prose into sentences: decimals, lists, abbreviations, times and gaps survive."""

import re
import unicodedata
from itertools import pairwise

WRAP_COLUMN = 79
"""Where hospital systems break the lines of a report."""

_GAP_SLACK = 24
_GAP = r"_{2,}|X{3,}"
_TITLE_ABBREVIATIONS = frozenset(
    (
        "dr",
        "drs",
        "mr",
        "mrs",
        "ms",
        "prof",
        "st",
        "vs",
        "approx",
        "e.g",
        "i.e",
        "cf",
        "no",
        "nos",
        "fig",
        "dept",
        "tel",
        "ext",
        "pt",
    )
)
"""Never the end of a sentence, whatever follows."""
_INNER_ABBREVIATIONS = frozenset(
    (
        "inf",
        "sup",
        "lat",
        "ant",
        "post",
        "med",
        "resp",
        "min",
        "max",
        "temp",
        "bilat",
        "incl",
        "etc",
        "approx",
        "poss",
        "prob",
    )
)
"""The end of a sentence only when a capital follows."""

_BOUNDARY = re.compile(
    r"""
    (?P<stop>[.?!]{1,19})(?P<close>["')\]>]{0,9})
    (?:
        \s+(?=(?P<next>\S{1,99}))                       # the usual case
      | (?=(?P<glued>[A-Z][a-z]+\b|\d+\.\s))       # "bilaterally.There is": the blank was forgotten
    )
    """,
    re.VERBOSE,
)
"""Where a sentence may end. The lengths are bounded: the time stays linear on text that is no prose."""

_TOKEN = re.compile(r"[^\s.?!]{0,99}+(?:\.[A-Za-z](?=\.)){0,9}(?=[.?!]\Z)")
"""What stands before the stop that the searched text ends with; inner dots of p.m. belong to it."""

_TOKEN_ROOM = 120
"""Characters before a stop in which its token is looked for: more than `_TOKEN` can have."""

_ENUMERATION = re.compile(
    r"(?<![\w.,/-])\(?(?P<number>\d{1,2})(?:[.)]|\.\)|\.,)(?:\s+|(?=[A-Z]))(?=[A-Z0-9(_\"'\[])"
)
_BULLET = re.compile(r"^\s*(?:[-*•>]+|\(?[a-h]\))\s+")
_LEAD_IN = re.compile(
    r"""
    ^(?:(?:an?|ap|pa|portable|frontal|lateral|upright|supine|semi-?\w*|single|two|bedside|chest|x-?rays?|views?|
        radiographs?|films?|of|the|and|is|are|was|were)[\s,]+)+
    (?:compar|since|read\b|reviewed\b|interpreted\b|in\ the\ absence)
    (?:[ap]\.\s?m\.|\d[.:]\d|[^.:]){0,120}:(?=\s|$)
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""`AP chest compared to ___ at 5:00 a.m.:` before what is seen: names the examination, describes nothing."""

_UNFINISHED = re.compile(
    r"(?:,|\b\d{1,2}[.)]|\b(?:the|an?|of|in|on|at|and|or|with|to|for|from|is|are|by|no|dr\.))\s*$",
    re.IGNORECASE,
)
_RUNNING = re.compile(r"[a-z)\d]\.\s+[A-Z][^.?!:]*[^.?!:\s]\s*$")
"""A line that holds the end of a sentence and the beginning of another: running text, broken by its width."""

_DOTTED = re.compile(r"^[a-z](?:\.[a-z])+$")
"""`p.m`, `m.d`, `u.i.p`: the end of a sentence only when a new one plainly begins."""

_SIGNATURE = re.compile(r"(?:drs?|signed|read by|m\.?d)\b[\s.,:_X]*", re.IGNORECASE)
_NEAR = 200
"""Characters before a number that are looked at: more than four words."""

_DEBRIS = re.compile(r"^[\s.,;:>\])]+|[\s<\[(]+$")
_WORD = re.compile(r"[^\W\d_]{2,}")


def split_sentences(text: str) -> list[str]:
    """The sentences of running text, in order, without the numbers of an enumeration.

    Line breaks are read as `unwrap` reads them. Pieces without a word (`2.`, `___.`, `XXXX`) and
    signatures (`Dr. ___`) are left out.
    """
    pieces = (piece for line in re.split(r"\n+", unwrap(text)) for piece in _split_line(line))
    tidy = (_tidy(piece) for piece in pieces)
    return [sentence for sentence in tidy if has_words(sentence) and not _SIGNATURE.fullmatch(sentence)]


def normalise(text: str) -> str:
    """The key of "identical text": lower case, no punctuation, no de-identified gaps, single blanks."""
    folded = unicodedata.normalize("NFKC", text)
    folded = re.sub(rf"\b(?:{_GAP})\b", " ", folded).casefold()
    return " ".join(re.findall(r"[^\W_]+", folded))


def has_words(text: str) -> bool:
    """Whether there is a word to read: two letters in a row that are not a de-identified gap."""
    return any(not re.fullmatch("X{2,}", word) for word in _WORD.findall(text))


def is_unicode(text: str) -> bool:
    """Whether a text can be written down: bytes of another encoding on a command line are half characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def unwrap(text: str) -> str:
    """Undo hard wraps: lines that were broken to fit the page are joined, breaks that mean something stay.

    A break is a wrap when a sentence plainly goes on over it, or when the first word of the next line would
    not have fitted in `WRAP_COLUMN` columns. A line that opens an item of a list always stays on its own.
    """
    paragraphs = re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n"))
    joined = (_unwrap_paragraph(paragraph) for paragraph in paragraphs)
    return "\n\n".join(paragraph for paragraph in joined if paragraph)


def _unwrap_paragraph(paragraph: str) -> str:
    lines = [line for line in paragraph.split("\n") if line.strip()]
    if not lines:
        return ""
    text = " ".join(lines[0].split())
    for line, following in pairwise(lines):
        text += (" " if _is_wrapped(line, following) else "\n") + " ".join(following.split())
    return text


def _is_wrapped(line: str, following: str) -> bool:
    word = following.split()[0]
    if _BULLET.match(following) or re.match(r"\(?\d{1,2}[.)](?:\s|$)", following.strip()):
        return False
    goes_on = word[0].islower() or word[0].isdigit() or re.match(_GAP, word)
    if goes_on or _UNFINISHED.search(line) or _RUNNING.search(line):
        return True
    # A gap replaced a longer name or date after the report had been wrapped: such lines may end early.
    room = _GAP_SLACK if re.search(_GAP, line) else 0
    return WRAP_COLUMN - room - 1 < len(line.rstrip()) + len(word) and len(line.rstrip()) <= WRAP_COLUMN + 3


def _split_line(line: str) -> list[str]:
    line = _LEAD_IN.sub("", _BULLET.sub("", line))
    return [piece for item in _items(line) for piece in _split_prose(item)]


def _items(line: str) -> list[str]:
    """The items of `1. ... 2. ...`, cut where the numbers count on, numbers dropped."""
    cuts: list[tuple[int, int]] = []
    expected = 0
    for match in _ENUMERATION.finditer(line):
        number = int(match["number"])
        if number == expected or _opens_item(number, line, match.span()):
            cuts.append(match.span())
            expected = number + 1
    if not cuts:
        return [line]
    ends = [start for start, _ in cuts[1:]] + [len(line)]
    return [line[: cuts[0][0]], *(line[after:end] for (_, after), end in zip(cuts, ends, strict=True))]


def _opens_item(number: int, line: str, span: tuple[int, int]) -> bool:
    """Whether a number is the mark of an item: where a sentence may begin, or `Chest 1. ... 2. ...`."""
    before = line[max(0, span[0] - _NEAR) : span[0]]
    if not before.strip() or before.rstrip().endswith((".", "?", "!", ")", "]")):
        return True
    if number != 1:
        return False
    after_title = re.search(r"(?:^|[.?!]\s)\s*(?:[^\s.?!]+\s+){1,4}$", before) and re.search(
        r"\b2[.)]", line[span[1] : span[1] + 10 * _NEAR]
    )
    return before.rstrip().endswith((":", ";")) or bool(after_title)


def _split_prose(text: str) -> list[str]:
    pieces, start, seen = [], 0, 0
    for match in _BOUNDARY.finditer(text):
        room = max(seen, match.start() - _TOKEN_ROOM)
        seen = match.end()
        token = _TOKEN.search(text, room, match.start() + 1)
        if _ends_sentence(match, token[0] if token else ""):
            pieces.append(text[start : match.end("close")])
            start = match.end("close")
    return [*pieces, text[start:]]


def _ends_sentence(match: re.Match[str], token: str) -> bool:
    token = token.lstrip("(\"'[<").casefold()
    if match["glued"]:
        return len(token) > 2 and not token[-1:].isdigit()
    following = match["next"].lstrip("(\"'[<>]")
    if match["stop"] != ".":
        return match["stop"].startswith("..") or following[:1].isupper() or following[:1].isdigit()
    if token in _TITLE_ABBREVIATIONS or re.fullmatch(r"[a-z]", token):
        return False
    if _DOTTED.match(token):
        return bool(re.match(r"[A-Z][a-z]", following))
    if token in _INNER_ABBREVIATIONS:
        return following[:1].isupper()
    return not following[:1].islower() or len(token) > 3


def _tidy(piece: str) -> str:
    """Single blanks, one full stop at most, no stray brackets around."""
    piece = _DEBRIS.sub("", " ".join(piece.split()))
    return re.sub(r"\s*\.[\s.]+$", ".", piece)
