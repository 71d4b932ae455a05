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
ABSENT = ("No {digit}.", "There is no {digit}.")


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
    """Where the first lies seen from the second: in its row or column; empty for others."""
    if first.row == second.row:
        return "right of" if first.column > second.column else "left of"
    if first.column == second.column:
        return "below" if first.row > second.row else "above"
    return ""


def statements(digits: Sequence[PlacedDigit]) -> list[Statement]:
    """The plainest sentences on each digit: its name, its name with its place, and its relations.

    Digits of a mosaic differ, so each of them means one of them.
    """
    found = []
    for number, digit in enumerate(digits):
        found.append(Statement(_named(NAMED[0], digit), number, digit.name))
        found.append(Statement(_named(PLACED[0], digit), number, "place"))
        for other in digits:
            if other is not digit and (where := relation(digit, other)):
                text = _named(RELATED[0], digit, relation=where, other=other.name)
                found.append(Statement(text, number, "relation"))
    return found


def caption(generator: np.random.Generator, digits: Sequence[PlacedDigit]) -> str:
    """A text on a mosaic, which is never told whole: each digit with its place, by its name alone, or not at
    all, one relation, and one digit that is not there."""
    sentences = []
    for number in generator.permutation(len(digits)):
        forms = (PLACED, PLACED, NAMED, ())[generator.integers(4)]
        if forms:
            sentences.append(_named(str(generator.choice(forms)), digits[number]))
    related = [(a, b) for a in digits for b in digits if a is not b and relation(a, b)]
    if related:
        first, second = related[generator.integers(len(related))]
        form = str(generator.choice(RELATED))
        where = relation(first, second)
        sentences.append(_named(form, first, relation=where, other=second.name))
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
