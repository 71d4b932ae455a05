"""What is said of a mosaic of digits: which digit lies where, and beside which."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ROWS, COLUMNS = ("upper", "lower"), ("left", "right")
GRID = 2
"""Cells on a side of a mosaic."""

NAMED = ("{A} {digit}.", "There is {a} {digit}.")
PLACED = (
    "{A} {digit} in the {place}.",
    "There is {a} {digit} in the {place}.",
    "In the {place} lies {a} {digit}.",
)
RELATED = ("{A} {digit} {relation} the {other}.", "The {digit} is {relation} the {other}.")
ABSENT = ("No {digit}.", "There is no {digit}.", "No {digit} is seen.")


@dataclass(frozen=True)
class PlacedDigit:
    """A digit in a cell of a mosaic.

    Attributes:
        digit: 0 to 9.
        row, column: of its cell, from the upper left.
    """

    digit: int
    row: int
    column: int

    @property
    def name(self) -> str:
        """In words."""
        return DIGITS[self.digit]

    @property
    def place(self) -> str:
        """Of its cell, such as `upper left`."""
        return f"{ROWS[self.row]} {COLUMNS[self.column]}"


@dataclass(frozen=True)
class Statement:
    """A sentence that is true of one digit of a mosaic.

    Attributes:
        text: the sentence.
        about: the digit's number among those of the mosaic.
        category: what a sentence like this names: the digit alone, its place, or its relation.
    """

    text: str
    about: int
    category: str


def relation(first: PlacedDigit, second: PlacedDigit) -> str:
    """Where the first lies seen from the second: in its row or column; empty for others and for itself."""
    if first == second:
        return ""
    if first.row == second.row:
        return "right of" if first.column > second.column else "left of"
    if first.column == second.column:
        return "below" if first.row > second.row else "above"
    return ""


def statements(generator: np.random.Generator, digits: Sequence[PlacedDigit]) -> list[Statement]:
    """Plain sentences, each true of one digit: most by name, one by its place too, one by a relation.

    Digits of a mosaic differ, so a sentence means one of them. Which is told how is drawn.
    """
    *named, placed, related = (int(number) for number in generator.permutation(len(digits)))
    found = [Statement(_named(NAMED[0], digits[n]), n, digits[n].name) for n in named]
    found.append(Statement(_named(PLACED[0], digits[placed]), placed, "place"))
    others = [other for other in digits if relation(digits[related], other)]
    other = others[generator.integers(len(others))]
    where = relation(digits[related], other)
    text = _named(RELATED[0], digits[related], relation=where, other=other.name)
    return [*found, Statement(text, related, "relation")]


def caption(generator: np.random.Generator, digits: Sequence[PlacedDigit]) -> str:
    """A text on a mosaic, which is never told whole: each digit with its place, by its name alone, or not at
    all, one relation, and one digit that is not there."""
    sentences = []
    for number in generator.permutation(len(digits)):
        forms = (PLACED, PLACED, NAMED, ())[generator.integers(4)]
        if forms:
            sentences.append(_named(str(generator.choice(forms)), digits[number]))
    related = [(a, b) for a in digits for b in digits if relation(a, b)]
    first, second = related[generator.integers(len(related))]
    form = str(generator.choice(RELATED))
    sentences.append(_named(form, first, relation=relation(first, second), other=second.name))
    absent = sorted(set(range(10)) - {digit.digit for digit in digits})
    form = str(generator.choice(ABSENT))
    sentences.append(form.format(digit=DIGITS[generator.choice(absent)]))
    return " ".join(sentences)


def _named(form: str, digit: PlacedDigit, *, relation: str = "", other: str = "") -> str:
    article = "an" if digit.name == "eight" else "a"
    return form.format(
        A=article.capitalize(),
        a=article,
        digit=digit.name,
        place=digit.place,
        relation=relation,
        other=other,
    )
