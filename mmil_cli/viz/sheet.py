"""Films side by side with a line beneath each: what a person needs to compare them."""

from collections.abc import Sequence

import numpy as np

from mmil_cli.errors import shortened
from mmil_cli.viz.canvas import new_figure, plain, png_bytes
from mmil_cli.viz.layers import draw_film

_PANEL, _GAP, _WORDS = 1.9, 0.12, 0.3
"""Inches: side of a film, between two, and for the line beneath."""

_LETTERS = 26


def film_row(films: Sequence[np.ndarray], names: Sequence[str]) -> bytes:
    """One row of films uint8 [h, w], at least one, each in a square of its own, as PNG."""
    width = len(films) * (_PANEL + _GAP) + _GAP
    height = _PANEL + _WORDS + _GAP
    figure = new_figure(width, height, background="white")
    for place, (film, name) in enumerate(zip(films, names, strict=True)):
        left = _GAP + place * (_PANEL + _GAP)
        axes = figure.add_axes((left / width, _WORDS / height, _PANEL / width, _PANEL / height))
        draw_film(axes, film)
        words = shortened(name, _LETTERS)
        style = plain(ha="center", va="center", fontsize=7, color="black")
        figure.text((left + _PANEL / 2) / width, _WORDS / 2 / height, words, **style)
    return png_bytes(figure)
