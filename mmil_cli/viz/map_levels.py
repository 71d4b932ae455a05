"""A similarity map as a page takes it: one byte a pixel, and the colours that the bytes stand for."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps

UNSEEN = 255
"""The byte of a pixel that the model did not see."""

TOP = 254
"""The byte of the upper end of the colour scale."""

LONGEST_SIDE = 160
"""Of a map in a page, in pixels; it is smooth between the model's regions, so more would not be seen."""


@dataclass(frozen=True)
class MapLevels:
    """A map as bytes row by row from the top: 0..254 from the lower to the upper end of a scale."""

    width: int
    height: int
    levels: bytes

    def text(self) -> str:
        """The bytes in base64."""
        return base64.b64encode(self.levels).decode("ascii")


def map_levels(values: np.ndarray, *, low: float, high: float) -> MapLevels:
    """A map [H, W] on the scale from `low` to `high`; NaN is what was not seen, what is beyond is cut."""
    share = (values - low) / max(high - low, 1e-12)
    seen = np.rint(np.clip(np.nan_to_num(share), 0.0, 1.0) * TOP)
    levels = np.where(np.isnan(values), UNSEEN, seen).astype(np.uint8)
    return MapLevels(width=values.shape[1], height=values.shape[0], levels=levels.tobytes())


def map_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the map that is made for a film of so many pixels."""
    share = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))


def colour_table() -> str:
    """Red, green and blue of the bytes 0..254, in base64: the colours of the overlays."""
    colours = np.rint(colormaps["plasma"](np.linspace(0, 1, TOP + 1))[:, :3] * 255).astype(np.uint8)
    return base64.b64encode(colours.tobytes()).decode("ascii")


def gradient(stops: int = 9) -> str:
    """The colours as a CSS gradient from left to right."""
    places: Sequence[float] = np.linspace(0, 1, stops).tolist()
    colours = [colormaps["plasma"](place)[:3] for place in places]
    return "linear-gradient(to right, " + ", ".join(
        f"rgb({red * 255:.0f} {green * 255:.0f} {blue * 255:.0f})" for red, green, blue in colours
    ) + ")"  # fmt: skip
