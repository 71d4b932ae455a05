"""Films side by side, some with a similarity map over them, as one strip of a contact sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.cm import ScalarMappable

from mmil_cli.viz.canvas import new_figure, png_bytes
from mmil_cli.viz.layers import draw_film, draw_heat

_PANEL, _GAP = 2.6, 0.1
"""Inches: side of a panel, and between two."""


@dataclass(frozen=True)
class Shown:
    """A film uint8 [H, W] and the map over it [H, W], NaN where the model did not look; None for no map."""

    film: np.ndarray
    values: np.ndarray | None = None


def strip(films: Sequence[Shown], scale: ScalarMappable) -> bytes:
    """One row of films, at least one, as PNG.

    Args:
        films: from left to right.
        scale: of the maps' colours, the same for a whole sheet.
    """
    heights = [_PANEL * item.film.shape[0] / max(item.film.shape) for item in films]
    widths = [_PANEL * item.film.shape[1] / max(item.film.shape) for item in films]
    width, height = sum(widths) + _GAP * (len(films) - 1), max(heights)
    figure = new_figure(width, height, background="#101216")
    left = 0.0
    for item, own_width, own_height in zip(films, widths, heights, strict=True):
        bottom = (height - own_height) / 2
        axes = figure.add_axes((left / width, bottom / height, own_width / width, own_height / height))
        draw_film(axes, item.film)
        if item.values is not None:
            draw_heat(axes, item.values, scale)
        left += own_width + _GAP
    return png_bytes(figure)
