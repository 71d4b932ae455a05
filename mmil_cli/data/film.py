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
    """

    pixels: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None = None
    view: str | None = None


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


def normalise_view(text: str | None) -> str | None:
    """One spelling a projection: "PA", "AP" or "LATERAL"; other text in capitals; None when there is none.

    Decubitus, axial and oblique films ("AP LLD", "AP AXIAL", "LAO") look different, and keep their own names.
    """
    words = " ".join((text or "").upper().split())
    letters = re.sub(r"[^A-Z]", "", words)
    return _VIEW_OF_SPELLING.get(letters, words or None)
