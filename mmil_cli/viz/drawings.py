"""Plots of several runs as SVG in the page's own colours and letters: light, dark, and sharp in print."""

import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmil_cli.viz.canvas import new_figure, plain

Line = Sequence[Sequence[float]]
"""Points (x, y), or (x, y, ...) of which the rest is not drawn."""

# Written by matplotlib, and then replaced by the page's variables, which differ by day and night.
_INK, _FAINT, _GRID = "#010203", "#010204", "#010205"
_RUNS = tuple(f"#0102{10 + number}" for number in range(7))
_VARIABLES = {_INK: "--ink", _FAINT: "--faint", _GRID: "--line"} | {
    colour: f"--c{number}" for number, colour in enumerate(_RUNS)
}
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 2)))
"""Beside the colours: runs are told apart without them too."""

_LONGEST_NAME = 40
_COLUMNS, _SIDE, _GAP, _HEAD, _FOOT, _KEY = 4, 2.0, 0.62, 0.4, 0.5, 0.35
"""Panels in a row; inches: side of a panel, between two, above and below each, and the key's height."""


def training(runs: Mapping[str, Sequence[Mapping[str, object]]]) -> str:
    """Loss and recall over the steps, a line a run, an empty text where no run has a log."""
    panels = {
        "loss, training": _history(runs, "train", "loss"),
        "loss, held-out": _history(runs, "validate", "loss"),
        "R@5, image to report": _history(runs, "validate", "image_to_text_r@5"),
        "R@5, report to image": _history(runs, "validate", "text_to_image_r@5"),
    }
    drawn = {title: lines for title, lines in panels.items() if any(lines.values())}
    if not drawn:
        return ""
    figure, places = _sheet(list(drawn), list(runs))
    for axes, (title, lines) in zip(places, drawn.items(), strict=True):
        _panel(axes, title, list(lines.values()))
        axes.set_xlabel("step", color=_FAINT, fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        if "R@5" in title:
            axes.set_ylim(0, 1.02)
    return _svg(figure)


def label_curves(panels: Mapping[str, Mapping[str, Line]], runs: Sequence[str], names: Sequence[str]) -> str:
    """One panel a method: mean AUROC over the numbers of labels, a line a run.

    Args:
        panels: by method, then by run: points (place among the names, AUROC).
        runs: all there are, in the order of their colours.
        names: the numbers of labels, from few to all.
    """
    figure, places = _sheet(list(panels), runs)
    for axes, (title, lines) in zip(places, panels.items(), strict=True):
        _panel(axes, title, [lines.get(run, ()) for run in runs], marks=True)
        axes.set_xlim(-0.3, len(names) - 0.7)
        axes.set_ylim(0.45, 1.02)
        axes.set_xticks(range(len(names)), [name[:8] for name in names])
        axes.set_xlabel("labels", color=_FAINT, fontsize=8)
        axes.set_ylabel("mean AUROC", color=_FAINT, fontsize=8)
    return _svg(figure)


def shares(
    panels: Mapping[str, Mapping[str, Line]],
    runs: Sequence[str],
    *,
    x: str,
    y: str,
    marks: bool = False,
    diagonal: bool = True,
) -> str:
    """One square panel a finding, both axes from 0 to 1, a line a run; empty lines are said to be undefined.

    Args:
        panels: by finding, then by run.
        runs: all there are, in the order of their colours.
        x: what lies along.
        y: what lies up.
        marks: a mark at each point.
        diagonal: draw the line of chance, or of perfect calibration.
    """
    figure, places = _sheet(list(panels), runs)
    for axes, (title, lines) in zip(places, panels.items(), strict=True):
        if diagonal:
            axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=0.8, linestyle=":")
        _panel(axes, title, [lines.get(run, ()) for run in runs], marks=marks)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axes.set_xlabel(x, color=_FAINT, fontsize=8)
        axes.set_ylabel(y, color=_FAINT, fontsize=8)
    return _svg(figure)


@dataclass(frozen=True)
class Bar:
    """One line of a plot of intervals; NaN ends are not drawn, `mark` is what is to be beaten."""

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    mark: float = math.nan


def interval_bars(rows: Sequence[Bar], *, title: str = "", label: str = "") -> str:
    """Values with their intervals, one line each from the top, and the mark of each as a tick.

    Args:
        rows: in the order wanted.
        title: above the plot.
        label: of the axis.
    """
    names = [textwrap.shorten(row.name, _LONGEST_NAME, placeholder=" …") for row in rows]
    left = 0.35 + 0.085 * max((len(name) for name in names), default=0)
    width, height = left + 4.9, 0.3 * max(1, len(rows)) + 0.95
    figure = new_figure(width, height, background="none")
    axes = figure.add_axes((left / width, 0.55 / height, 3.9 / width, (height - 0.95) / height))
    _panel(axes, "", [])
    for text in axes.texts:
        text.remove()
    axes.set_title(title, loc="left", pad=6, **plain(fontsize=9, fontweight="bold", color=_INK))
    for place, row in enumerate(rows):
        _interval(axes, place, row)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), names)
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.set_xlabel(label, color=_FAINT, fontsize=8)
    return _svg(figure)


def _interval(axes: Axes, place: int, row: Bar) -> None:
    if math.isfinite(row.low) and math.isfinite(row.high):
        axes.plot([row.low, row.high], [place, place], color=_RUNS[0], linewidth=2.2, alpha=0.6)
    if math.isfinite(row.value):
        axes.plot(row.value, place, "o", color=_RUNS[0], markersize=5)
    if math.isfinite(row.mark):
        axes.plot(row.mark, place, "|", color=_RUNS[1], markersize=13, markeredgewidth=2)
    words = f"{row.value:.2f}" if math.isfinite(row.value) else "undefined"
    axes.annotate(
        words,
        (1.02, place),
        xycoords=("axes fraction", "data"),
        annotation_clip=False,
        **plain(color=_INK, fontsize=8, va="center"),
    )


def _history(
    runs: Mapping[str, Sequence[Mapping[str, object]]], kind: str, key: str
) -> dict[str, list[tuple[float, float]]]:
    """The points of each run whose entries have the number."""
    lines: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for name, entries in runs.items():
        for entry in entries:
            step, value = entry.get("step"), entry.get(key)
            if entry.get("kind") == kind and isinstance(value, int | float) and isinstance(step, int | float):
                lines[name].append((float(step), float(value)))
    return lines


def _sheet(titles: Sequence[str], runs: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure with a panel each, and a key of the runs above them where there are several."""
    columns = min(_COLUMNS, len(titles))
    rows = math.ceil(len(titles) / columns)
    key = _KEY if len(runs) > 1 else 0.0
    width = columns * (_SIDE + _GAP)
    height = key + rows * (_SIDE + _HEAD + _FOOT)
    figure = new_figure(width, height, background="none")
    places = []
    for number in range(len(titles)):
        row, column = divmod(number, columns)
        left = column * (_SIDE + _GAP) + _GAP * 0.85
        bottom = height - key - row * (_SIDE + _HEAD + _FOOT) - _HEAD - _SIDE
        place = (left / width, bottom / height, _SIDE / width, _SIDE / height)
        places.append(figure.add_axes(place))
    for number, run in enumerate(runs if key else ()):
        colour, dashes = _look(number)
        left = (0.1 + number * 2.3) / width
        middle = 1 - key / 2 / height
        figure.add_artist(mpl.lines.Line2D([left, left + 0.3 / width], [middle] * 2, color=colour, ls=dashes))
        figure.text(left + 0.38 / width, middle, run[:26], **plain(color=_INK, fontsize=9, va="center"))
    return figure, places


def _panel(axes: Axes, title: str, lines: Sequence[Line], *, marks: bool = False) -> None:
    for number, line in enumerate(lines):
        colour, dashes = _look(number)
        across, up = [point[0] for point in line], [point[1] for point in line]
        axes.plot(
            across, up, color=colour, linestyle=dashes, linewidth=1.5, marker="o" if marks else "", ms=3
        )
    if not any(len(line) for line in lines):
        axes.text(0.5, 0.5, "undefined", transform=axes.transAxes, color=_FAINT, fontsize=8, ha="center")
    axes.set_facecolor("none")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.grid(color=_GRID, linewidth=0.7)
    axes.tick_params(colors=_FAINT, labelsize=7.5, length=0)
    axes.set_title(title[:28], loc="left", pad=6, **plain(fontsize=9, fontweight="bold", color=_INK))


def _look(number: int) -> tuple[str, object]:
    return _RUNS[number % len(_RUNS)], _DASHES[number % len(_DASHES)]


def _svg(figure: Figure) -> str:
    """The figure as SVG of letters and lines, without the head of a file of its own."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mmil"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", text, flags=re.DOTALL)
    return re.sub("|".join(_VARIABLES), lambda found: f"var({_VARIABLES[found[0]]})", text)
