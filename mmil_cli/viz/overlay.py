"""Where phrases are found in a film: the film, and beside it one panel per phrase with its similarity map."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mmil_cli.viz.canvas import Box, new_figure, plain, png_bytes
from mmil_cli.viz.layers import (
    DASHES,
    FOUND_COLOUR,
    TRUE_COLOUR,
    draw_boxes,
    draw_film,
    draw_heat,
    draw_peak,
    similarity_scale,
)
from mmil_cli.viz.layout import Layout, layout_for

DISCLAIMER = "Research use only – not for clinical use"
_BACKGROUND, _TEXT, _FAINT = "#101216", "#eceff4", "#959dab"


@dataclass(frozen=True)
class PhraseMap:
    """A phrase and what the model makes of it in one film, in pixels of that film.

    `values` is the similarity [H, W], NaN where the model did not look; `peak` is (x, y); `boxes` are the
    model's, `true_boxes` an annotator's, each (left, top, width, height).
    """

    phrase: str
    values: np.ndarray
    score: float
    peak: tuple[float, float] | None = None
    boxes: Sequence[Box] = ()
    true_boxes: Sequence[Box] = ()


def overlay_figure(film: np.ndarray, maps: Sequence[PhraseMap], *, title: str = "") -> bytes:
    """The film beside one panel per phrase, as PNG.

    All panels share one colour scale, so that a phrase the film does not show stays pale. Low similarity
    is transparent; what the model did not see is striped.

    Args:
        film: uint8 [H, W], bright is dense.
        maps: Each with values of the film's shape.
        title: One line above the pictures.
    """
    height, width = film.shape
    layout = layout_for(len(maps) + 1, aspect=height / width)
    figure = new_figure(layout.width, layout.height, background=_BACKGROUND)
    scale = similarity_scale([item.values for item in maps])
    axes = figure.add_axes(layout.panel(0))
    draw_film(axes, film)
    _caption(axes, ["Film"], f"{width} × {height} pixels")
    for index, item in enumerate(maps, start=1):
        axes = figure.add_axes(layout.panel(index))
        draw_film(axes, film)
        _draw_phrase(axes, item, scale, layout)
    _header(figure, layout, title)
    _legend(figure, layout, maps)
    _colour_bar(figure, layout, scale)
    return png_bytes(figure)


def _draw_phrase(axes: Axes, item: PhraseMap, scale: ScalarMappable, layout: Layout) -> None:
    draw_heat(axes, item.values, scale)
    draw_boxes(axes, item.true_boxes, found=False)
    draw_boxes(axes, item.boxes, found=True)
    if item.peak is not None:
        draw_peak(axes, item.peak)
    letters = int((layout.panel_width - 0.9) * 12)
    lines = textwrap.wrap(f"“{item.phrase}”", letters, max_lines=2, placeholder=" …”")
    _caption(axes, lines, f"score {item.score:.2f}")


def _caption(axes: Axes, lines: Sequence[str], detail: str) -> None:
    """Below a panel: words on the left, a number on the right, on common base lines."""
    for index, line in enumerate(lines):
        _below(axes, line, drop=16 + 14 * index, side=0, color=_TEXT, ha="left")
    _below(axes, detail, drop=16, side=1, color=_FAINT, ha="right")


def _below(axes: Axes, words: str, *, drop: float, side: int, **style: Any) -> None:
    """Words whose base line lies `drop` points below the left (0) or right (1) corner."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(words, (side, 0), (0, -drop), **place, **plain(va="baseline", fontsize=10, **style))


def _header(figure: Figure, layout: Layout, title: str) -> None:
    left, bottom, _, _ = layout.shares(layout.margin, layout.height - layout.header / 2, 0, 0)
    figure.text(left, bottom, title, color=_TEXT, **plain(fontsize=13, fontweight="bold", va="center"))


def _legend(figure: Figure, layout: Layout, maps: Sequence[PhraseMap]) -> None:
    """Only what is in the picture, and below it what the picture is not for."""
    entries: list[Artist] = []
    if any(item.peak is not None for item in maps):
        entries.append(Line2D([], [], color=FOUND_COLOUR, marker="+", linestyle="", label="peak"))
    if any(item.boxes for item in maps):
        entries.append(Line2D([], [], color=FOUND_COLOUR, linestyle=DASHES, label="found"))
    if any(item.true_boxes for item in maps):
        entries.append(Line2D([], [], color=TRUE_COLOUR, label="annotated"))
    if any(np.isnan(item.values).any() for item in maps):
        entries.append(Patch(facecolor="#2b2f37", edgecolor="#9aa2b0", hatch="////", label="not seen"))
    left, middle, _, _ = layout.shares(layout.margin, 0.62, 0, 0)
    if entries:
        figure.legend(
            handles=entries,
            loc="center left",
            bbox_to_anchor=(left, middle),
            ncols=len(entries),
            frameon=False,
            labelcolor=_TEXT,
            fontsize=9,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.8,
            columnspacing=1.4,
        )
    left, bottom, _, _ = layout.shares(layout.margin, 0.26, 0, 0)
    figure.text(left, bottom, DISCLAIMER, color=_FAINT, fontsize=8, va="center")


def _colour_bar(figure: Figure, layout: Layout, scale: ScalarMappable) -> None:
    length = min(2.6, 0.42 * layout.width)
    left = layout.width - layout.margin - length
    axes = figure.add_axes(layout.shares(left, 0.56, length, 0.12), facecolor="#3a3f49")
    bar = figure.colorbar(scale, cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    axes.tick_params(colors=_FAINT, labelsize=8, length=2, pad=2)
    axes.locator_params(nbins=5)
    right, middle, _, _ = layout.shares(left - 0.1, 0.62, 0, 0)
    figure.text(right, middle, "cosine similarity", color=_FAINT, fontsize=8.5, ha="right", va="center")
