"""Films turned left for right, with the words of their reports."""

import hashlib
import re
from dataclasses import replace

from mmil_cli.data.dataset import Row
from mmil_cli.data.fit import FittedFilm

SIDE = re.compile(r"\b(left|right)(?=(?:wards?|most)?\b)", re.IGNORECASE)
OTHER = {"left": "right", "right": "left"}


def swap_sides(text: str) -> str:
    """The text of the mirror image: `left` for `right` and the other way round, in the case they have.

    Whole words, also before a hyphen (`left-sided`) and in `leftward` and `leftmost`; `bilateral` and
    `upright` stay. What names a side by other letters (RLL, the lingula) stays too, and so becomes wrong:
    films are turned only where the recipe asks for it.
    """
    return SIDE.sub(lambda match: _in_case(OTHER[match[0].lower()], match[0]), text)


def is_turned(share: float, *, seed: int, step: int, study: str) -> bool:
    """Whether the films of a study are turned in a step: a pure function, true for a share of the studies.

    All films of a study turn together, so that they go on showing the same thing.
    """
    digest = hashlib.blake2b(f"{seed} {step} {study}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def turned_film(film: FittedFilm) -> FittedFilm:
    """The mirror image of a film in its square."""
    left, top, right, bottom = film.cover
    way = film.to_stored
    return FittedFilm(
        pixels=film.pixels[:, ::-1],
        cover=(1 - right, top, 1 - left, bottom),
        to_stored=replace(
            way, scale_x=-way.scale_x, offset_x=way.offset_x + way.scale_x * film.pixels.shape[1]
        ),
    )


def turned_row(row: Row) -> Row:
    """What is known of the mirror image: its report names the other sides, and so has another text."""
    return replace(row, sentences=tuple(map(swap_sides, row.sentences)), text_key=swap_sides(row.text_key))


def _in_case(word: str, like: str) -> str:
    return word.upper() if like.isupper() else word.capitalize() if like[0].isupper() else word
