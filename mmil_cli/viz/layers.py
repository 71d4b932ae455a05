"""The layers of an overlay panel, from the film up; every coordinate is a pixel of the film."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from mmil_cli.viz.canvas import Box

TRUE_COLOUR, FOUND_COLOUR = "#5ff0c8", "#ffffff"
DASHES = (0, (4.0, 2.5))
_LONGEST_SIDE = 1000  # of a panel's picture; more would not be seen
_ISOLINES = (0.5, 0.7, 0.9)  # shares of the colour scale
_OPAQUE, _FADE_FROM, _FADE_TO = (
    0.75,
    0.25,
    0.7,
)  # greatest alpha, and the shares of the scale it rises between


def similarity_scale(maps: Sequence[np.ndarray]) -> ScalarMappable:
    """One colour scale for all maps: perceptually uniform, transparent where similarity is low.

    It runs from the 5th percentile of what was seen to the highest value.
    """
    seen = np.concatenate([np.zeros(0), *(values[~np.isnan(values)] for values in maps)])
    low, high = (float(np.quantile(seen, 0.05)), float(seen.max())) if seen.size else (0.0, 1.0)
    if high - low < 1e-6:
        low, high = low - 0.5, low + 0.5
    position = np.linspace(0, 1, 256)
    colours = colormaps["plasma"](position)
    colours[:, 3] = _OPAQUE * np.clip((position - _FADE_FROM) / (_FADE_TO - _FADE_FROM), 0, 1)
    return ScalarMappable(Normalize(low, high), ListedColormap(colours))


def draw_film(axes: Axes, film: np.ndarray) -> None:
    """The film itself, shrunk to what a panel can show, on axes in its own pixels."""
    height, width = film.shape
    image = Image.fromarray(film)
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    axes.set_axis_off()
    axes.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
    axes.set_autoscale_on(False)


def draw_heat(axes: Axes, values: np.ndarray, scale: ScalarMappable) -> None:
    """Heat, isolines, and stripes where the model saw nothing."""
    height, width = values.shape
    step = -(-max(height, width) // _LONGEST_SIDE)
    sampled = values[step // 2 :: step, step // 2 :: step]
    if sampled.size == 0:
        sampled = values
    extent = (0.0, float(width), float(height), 0.0)
    axes.imshow(scale.to_rgba(np.ma.masked_invalid(sampled)), extent=extent, interpolation="nearest")
    axes.imshow(_stripes(np.isnan(sampled)), extent=extent, interpolation="nearest")
    _draw_isolines(axes, sampled, scale, (height, width))


def draw_boxes(axes: Axes, boxes: Sequence[Box], *, found: bool) -> None:
    """Boxes of the model (`found`: white, dashed) or of an annotator (green, solid)."""
    colour = FOUND_COLOUR if found else TRUE_COLOUR
    for left, top, width, height in boxes:
        axes.add_patch(
            Rectangle(
                (left, top),
                width,
                height,
                fill=False,
                edgecolor=colour,
                linewidth=1.6,
                linestyle=DASHES if found else "-",
                path_effects=[withStroke(linewidth=3.0, foreground="#00000066")],
            )
        )


def draw_peak(axes: Axes, peak: tuple[float, float]) -> None:
    """A cross at (x, y)."""
    outline = [withStroke(linewidth=3.4, foreground="black")]
    axes.plot(
        *peak,
        "+",
        color=FOUND_COLOUR,
        markersize=12,
        markeredgewidth=1.6,
        path_effects=outline,
        clip_on=False,
    )


def _stripes(unseen: np.ndarray) -> np.ndarray:
    """A dark veil with diagonal stripes [H, W, RGBA], clear where something was seen."""
    rows, columns = np.indices(unseen.shape)
    period = max(6, max(unseen.shape) // 45)
    stripe = (rows + columns) % period < max(1, period // 6)
    layer = np.zeros((*unseen.shape, 4))
    layer[unseen] = (0.06, 0.07, 0.09, 0.55)
    layer[unseen & stripe] = (0.62, 0.66, 0.74, 0.5)
    return layer


def _draw_isolines(axes: Axes, values: np.ndarray, scale: ScalarMappable, shape: tuple[int, int]) -> None:
    low, high = scale.get_clim()
    seen = values[~np.isnan(values)]
    levels = [low + share * (high - low) for share in _ISOLINES]
    crossed = [level for level in levels if seen.size and seen.min() < level < seen.max()]
    if not crossed or min(values.shape) < 2:
        return
    rows = (np.arange(values.shape[0]) + 0.5) * shape[0] / values.shape[0]
    columns = (np.arange(values.shape[1]) + 0.5) * shape[1] / values.shape[1]
    axes.contour(columns, rows, values, levels=crossed, colors="white", linewidths=0.7, alpha=0.6)
