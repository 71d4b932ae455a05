"""Figures without pyplot: nothing global is touched, and the same input gives the same bytes."""

import io
import warnings
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DOTS_PER_INCH = 150

Box = tuple[float, float, float, float]
"""Left, top, width, height in pixels of the film."""


def new_figure(width: float, height: float, *, background: str) -> Figure:
    """An empty figure of so many inches that belongs to no window and no global list."""
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor=background)
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG, without date or program in its metadata."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as an empty frame: no reason to refuse a phrase.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return buffer.getvalue()


def plain(**style: Any) -> dict[str, Any]:
    """Text options for words that others wrote: a dollar sign does not start a formula."""
    return {"parse_math": False, **style}
