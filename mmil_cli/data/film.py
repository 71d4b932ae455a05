"""A film ready for display, and the smaller one that is stored."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmil_cli.data.geometry import Affine


@dataclass(frozen=True, eq=False)
class Film:
    """One radiograph as it is displayed.

    Attributes:
        pixels: float32 [H, W] in [0, 1]; 0 is black (air), row 0 is on top.
        spacing_mm: distance in mm between the centres of (rows, columns), where known.
        view: "PA", "AP", "LATERAL", ... (see `normalise_view`), where known.
        orientation: where rows and columns lead in the patient as the header tells it, such as "L\\F" (to the
            left and to the feet, as a frontal film is shown), where known.
        burned_in: the header says that the picture itself holds text which may name the patient.
    """

    pixels: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None = None
    view: str | None = None
    orientation: str | None = None
    burned_in: bool = False


@dataclass(frozen=True, eq=False)
class StoredFilm:
    """The film as the dataset keeps it.

    Attributes:
        pixels: uint8 [h, w].
        to_source: maps its continuous pixel coordinates to those of the original film.
    """

    pixels: NDArray[np.uint8]
    to_source: Affine


_VIEWS = {
    "PA": ("PA", "POSTEROANTERIOR", "POSTERIORANTERIOR", "POSTERIORTOANTERIOR", "PACHEST", "CHESTPA"),
    "AP": ("AP", "ANTEROPOSTERIOR", "ANTERIORPOSTERIOR", "ANTERIORTOPOSTERIOR", "APCHEST", "CHESTAP"),
    "LATERAL": ("LATERAL", "LAT", "LL", "RL", "LLAT", "RLAT", "LLATERAL", "RLATERAL", "LEFTLATERAL",
                "RIGHTLATERAL", "LATERALLEFT", "LATERALRIGHT", "LEFTTORIGHT", "RIGHTTOLEFT"),
}  # fmt: skip
_VIEW_OF_SPELLING = {spelling: view for view, spellings in _VIEWS.items() for spelling in spellings}


_WORDS_OF_VIEWS = """
    PA AP LAT LATERAL LL RL LLAT RLAT LLATERAL RLATERAL LEFT RIGHT TO LLD RLD LLO RLO LLDECUB RLDECUB
    DECUBITUS DECUB OBLIQUE OBL LAO RAO LPO RPO AXIAL LORDOTIC APICAL SUPINE PRONE ERECT UPRIGHT SEMI
    PORTABLE STANDING SITTING CHEST THORAX POSTERO ANTERO POSTERIOR ANTERIOR POSTEROANTERIOR
    ANTEROPOSTERIOR CC MLO ML LM FRONTAL SWIMMERS SUNRISE TANGENTIAL INSPIRATION EXPIRATION VIEW XECC
    XCCL
"""
_VIEW_WORDS = frozenset(_WORDS_OF_VIEWS.split())


def view_of_header(text: str | None) -> str | None:
    """`normalise_view` of what a header says, None where it says more than a projection.

    The field is free text in practice, and anything may stand in it.
    """
    view = normalise_view(text)
    return view if view and set(re.split(r"[^A-Z]+", view)) - {""} <= _VIEW_WORDS else None


def normalise_view(text: str | None) -> str | None:
    """One spelling a projection: "PA", "AP" or "LATERAL"; other text in capitals; None when there is none.

    Decubitus, axial and oblique films ("AP LLD", "AP AXIAL", "LAO") look different, and keep their own names.
    """
    words = " ".join((text or "").upper().split())
    letters = re.sub(r"[^A-Z]", "", words)
    return _VIEW_OF_SPELLING.get(letters, words or None)


def is_turned(orientation: str) -> bool:
    """Whether rows lead elsewhere than to the left (front or back in lateral films), or columns not down."""
    rows, _, columns = orientation.partition("\\")
    return bool(rows) and (rows[0] in "RHF" or columns[:1] != "F")
