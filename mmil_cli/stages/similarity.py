"""What a similarity map says about a place: its peak, and boxes around what stands out."""

from dataclasses import dataclass

import numpy as np

from mmil_cli.data.geometry import Box
from mmil_cli.errors import UsageError

DEFAULT_THRESHOLD = 0.5
MEDIAN_PIXELS = 500  # a side, at most: the median of a smooth map needs no more


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The highest point of a map: the centre of a pixel, corner convention, and its value."""

    x: float
    y: float
    value: float


@dataclass(frozen=True, kw_only=True)
class FoundBox:
    """A box (x, y, width, height) around a connected region of a map, and the region's highest value."""

    box: Box
    value: float


def check_threshold(threshold: float) -> None:
    """Refuse a threshold that no map could be cut at.

    Raises:
        UsageError: it is not between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise UsageError(
            f"the threshold must lie between 0 (the map's median) and 1 (its peak), not {threshold:g}"
        )


def find_peak(values: np.ndarray) -> Peak | None:
    """The highest pixel of a map [H, W]; of several the one nearest to their mean; None where all is NaN."""
    if np.isnan(values).all():
        return None
    rows, columns = np.nonzero(values == np.nanmax(values))
    nearest = ((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2).argmin()
    row, column = int(rows[nearest]), int(columns[nearest])
    return Peak(x=column + 0.5, y=row + 0.5, value=float(values[row, column]))


def find_boxes(
    values: np.ndarray, *, threshold: float = DEFAULT_THRESHOLD, smallest: float = 0.0
) -> tuple[FoundBox, ...]:
    """Boxes around the connected regions that stand out of a map [H, W], the highest first.

    A region is where `values >= median + threshold * (peak - median)`: a level of the map's own, because
    similarities of different phrases and models have no common scale. So every map that is not flat has a
    box, also that of a phrase the film does not show; whether it does is for the score to say. Pixels that
    touch at corners are connected.

    Args:
        values: the map; NaN is never above.
        threshold: between 0 (the median of what was seen) and 1 (the peak).
        smallest: pixels below which a region is left out, unless it holds the peak.
    """
    from scipy import ndimage

    above = stands_out(values, threshold=threshold)
    if not above.any():
        return ()
    peak = float(np.nanmax(values))
    regions, _ = ndimage.label(above, structure=np.ones((3, 3)))
    boxes = []
    for number, place in enumerate(ndimage.find_objects(regions), start=1):
        inside = regions[place] == number
        top = float(values[place].max(where=inside, initial=-np.inf))
        if top == peak or inside.sum() >= smallest:
            boxes.append(FoundBox(box=_box(*place), value=top))
    return tuple(sorted(boxes, key=lambda found: -found.value))


def stands_out(values: np.ndarray, *, threshold: float = DEFAULT_THRESHOLD) -> np.ndarray:
    """Where a map [H, W] reaches the level of `find_boxes`; nowhere on one that is flat, or all NaN."""
    step = -(-max(values.shape) // MEDIAN_PIXELS)
    sampled = values[::step, ::step]
    seen = sampled[~np.isnan(sampled)]
    if seen.size == 0:
        return np.zeros(values.shape, bool)
    median, peak = float(np.median(seen)), float(np.nanmax(values))
    if peak - median <= 1e-6 * max(1.0, abs(peak)):
        return np.zeros(values.shape, bool)
    above: np.ndarray = values >= median + threshold * (peak - median)
    return above


def _box(rows: slice, columns: slice) -> Box:
    return (
        float(columns.start),
        float(rows.start),
        float(columns.stop - columns.start),
        float(rows.stop - rows.start),
    )
