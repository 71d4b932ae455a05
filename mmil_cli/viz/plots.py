"""Plots of a run and of its figures, as PNG on a light ground."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mmil_cli.viz.canvas import new_figure, plain, png_bytes

_INK, _FAINT, _GRID, _PAPER = "#1c2230", "#677084", "#e4e7ed", "#ffffff"
_LONGEST_NAME = 40
# Distinct for colour-blind eyes too (Okabe and Ito), and a marker each for print.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a7a")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

Series = Mapping[str, tuple[list[float], list[float]]]


@dataclass(frozen=True)
class Bar:
    """One line of an interval plot; NaN ends are not drawn, `chance` is a mark to beat."""

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    chance: float | None = None


def curves(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Loss and retrieval over the steps of a run.

    Args:
        history: Entries of the log, each with `step`, perhaps `kind` (train, validate), and numbers: those
            whose name ends in `loss` are drawn on the left, those with `r@` in their name on the right;
            everything else is passed over. Chance levels are dashed.
    """
    losses = _series(history, lambda key: key.endswith("loss"))
    recalls = _series(history, lambda key: "r@" in key.lower())
    panels = [(title, lines) for title, lines in (("Loss", losses), ("Recall", recalls)) if lines]
    width = 0.6 + 4.7 * max(1, len(panels))
    figure = new_figure(width, 3.4, background=_PAPER)
    for index, (title, lines) in enumerate(panels):
        axes = figure.add_axes(((0.55 + 4.7 * index) / width, 0.15, 4.0 / width, 0.7))
        _style(axes, title)
        _draw_series(axes, lines)
        if title == "Recall":
            axes.set_ylim(0, 1.02)
    return png_bytes(figure)


def interval_bars(rows: Sequence[Bar], *, title: str = "", label: str = "") -> bytes:
    """Values with their intervals, one line each from the top, and the chance level of each as a tick.

    Args:
        rows: In the order wanted.
        title: Above the plot.
        label: Of the axis.
    """
    rows_height = 0.3 * max(1, len(rows))
    names = [textwrap.shorten(row.name, _LONGEST_NAME, placeholder=" …") for row in rows]
    left = 0.35 + 0.085 * max((len(name) for name in names), default=0)
    width, height = left + 4.9, rows_height + 0.95
    figure = new_figure(width, height, background=_PAPER)
    axes = figure.add_axes((left / width, 0.55 / height, 3.9 / width, rows_height / height))
    _style(axes, title, grid="x")
    for place, row in enumerate(rows):
        _draw_bar(axes, place, row)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), names)
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.set_xlabel(label, color=_FAINT, fontsize=9)
    axes.tick_params(axis="y", length=0, labelsize=9, labelcolor=_INK)
    return png_bytes(figure)


def _series(history: Sequence[Mapping[str, Any]], wanted: Callable[[str], bool]) -> Series:
    """Steps and values of every wanted name, the kind of entry in front where there is one."""
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for entry in history:
        for key, value in entry.items():
            if wanted(key) and isinstance(value, int | float) and math.isfinite(value):
                name = f"{entry.get('kind', '')} {key}".strip().replace("_", " ").replace("r@", "R@")
                steps, values = lines.setdefault(name, ([], []))
                steps.append(entry["step"])
                values.append(value)
    return lines


def _draw_series(axes: Axes, lines: Series) -> None:
    measured = [name for name in lines if "chance" not in name]
    for name, (steps, values) in lines.items():
        if name in measured:
            place = measured.index(name) % len(_COLOURS)
            style = {"color": _COLOURS[place], "marker": _MARKERS[place] if len(steps) <= 30 else ""}
        else:
            style = {"color": _FAINT, "linestyle": "--"}
        axes.plot(steps, values, linewidth=1.6, markersize=3.5, label=name, **style)  # type: ignore[arg-type]
    axes.set_xlabel("step", color=_FAINT, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    legend = axes.legend(frameon=False, fontsize=8, labelcolor=_INK)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _draw_bar(axes: Axes, place: int, row: Bar) -> None:
    if math.isfinite(row.low) and math.isfinite(row.high):
        axes.plot([row.low, row.high], [place, place], color=_COLOURS[0], linewidth=2.2, alpha=0.55)
    if math.isfinite(row.value):
        axes.plot(row.value, place, "o", color=_COLOURS[0], markersize=6)
    if row.chance is not None and math.isfinite(row.chance):
        axes.plot(row.chance, place, "|", color=_COLOURS[1], markersize=13, markeredgewidth=2)
    words = f"{row.value:.2f}" if math.isfinite(row.value) else "undefined"
    axes.annotate(
        words,
        (1.02, place),
        xycoords=("axes fraction", "data"),
        annotation_clip=False,
        **plain(color=_INK, fontsize=9, va="center"),
    )


def _style(axes: Axes, title: str, *, grid: str = "y") -> None:
    axes.set_facecolor(_PAPER)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(colors=_FAINT, labelsize=8.5, length=0)
    axes.set_title(title, loc="left", pad=10, **plain(fontsize=10.5, fontweight="bold", color=_INK))
