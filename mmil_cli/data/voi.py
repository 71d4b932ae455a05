r"""From stored values to displayed grey: modality transform, values of interest, inversion.

The steps are those of PS3.3 C.11.1 and C.11.2 and PS3.4 N.2, in this order:

1. Modality LUT Sequence, else `slope * stored + intercept`, else nothing.
2. VOI LUT Sequence (first item), else the first window, else a range found in the film (`display_range`).
3. `1 - y` for MONOCHROME1 or Presentation LUT Shape INVERSE. In DX objects both say the same thing, so that a
   film with both is inverted once.
4. Padding becomes black, whatever it was mapped to.

A window that the standard does not allow (width below 1 for LINEAR, not above 0 for the others) counts as
missing: writers put 0 there for "none". What is no finite number, in a window or a rescale, is a fault:
nobody knows what was meant. A legal window that shows nothing of the film is obeyed, and the caller rejects
the blank picture.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from mmil_cli.data.luts import read_lut

Values = NDArray[np.float64]
Census = Callable[[], NDArray[np.int64]]
"""How many pixels have each value, in the shape of the values; a call, because a window needs no counts."""

LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5


def displayed(stored: Values, header: Dataset, census: Census) -> Values:
    """Map stored values of any shape to displayed grey in [0, 1], 0 being black."""
    values = modality_values(stored, header)
    shown = _values_of_interest(values, header, census)
    return 1.0 - shown if is_inverted(header) else shown


def modality_values(stored: Values, header: Dataset) -> Values:
    """Undo the manufacturer's storage: a lookup table, a linear rescale, or nothing."""
    if items := header.get("ModalityLUTSequence"):
        return read_lut(items[0], little_endian=_little(header), lowest_input=float(stored.min()))(stored)
    slope, intercept = _first_number(header, "RescaleSlope"), _first_number(header, "RescaleIntercept")
    if slope is None and intercept is None:
        return stored
    return stored * (1.0 if slope is None else slope) + (intercept or 0.0)


def is_inverted(header: Dataset) -> bool:
    """True when the lowest values of interest are shown white."""
    return (
        header.get("PhotometricInterpretation") == "MONOCHROME1"
        or header.get("PresentationLUTShape") == "INVERSE"
    )


def scaled(values: Values, low: float, high: float) -> Values:
    """[low, high] to [0, 1], clipped; all black when the range is empty."""
    return np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(values)


def robust_range(values: Values, counts: NDArray[np.int64]) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles of the film, so that markers, air and hot pixels do not set the contrast.

    Whole values are taken and none interpolated, alike at both ends: an inverted film has the inverted range.
    When nearly all pixels share one value, the range is that of all of them.
    """
    order = np.argsort(values, axis=None, kind="stable")
    ordered, numbers = values.ravel()[order], counts.ravel()[order]
    ordered, numbers = ordered[numbers > 0], numbers[numbers > 0]
    if not ordered.size:
        return 0.0, 0.0
    below = np.cumsum(numbers)
    cut = below[-1] * LOW_PERCENTILE / 100.0
    low = ordered[np.searchsorted(below, cut, side="right")]
    high = ordered[ordered.size - 1 - np.searchsorted(np.cumsum(numbers[::-1]), cut, side="right")]
    return (float(low), float(high)) if high > low else (float(ordered[0]), float(ordered[-1]))


def window(values: Values, *, center: float, width: float, function: str) -> Values | None:
    """Apply a window (PS3.3 C.11.2.1.2 and C.11.2.1.3) onto [0, 1]; None when the standard forbids it."""
    too_narrow = width < 1 if function == "LINEAR" else width <= 0
    if too_narrow:
        return None
    if function == "SIGMOID":
        # tanh is the logistic function without overflow
        return 0.5 + 0.5 * np.tanh(2.0 * (values - center) / width)
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _values_of_interest(values: Values, header: Dataset, census: Census) -> Values:
    if items := header.get("VOILUTSequence"):
        table = read_lut(items[0], little_endian=_little(header), lowest_input=float(values.min()))
        return table(values) / table.maximum
    center, width = _first_number(header, "WindowCenter"), _first_number(header, "WindowWidth")
    if center is not None and width is not None:
        function = str(header.get("VOILUTFunction") or "LINEAR").upper()
        shown = window(values, center=center, width=width, function=function)
        if shown is not None:
            return shown
    return scaled(values, *display_range(values, header, census))


def display_range(values: Values, header: Dataset, census: Census) -> tuple[float, float]:
    """The range shown of a film without window: all that 8 bits can hold, robust percentiles when deeper.

    8-bit films were made for display by somebody, and look here as the same picture does in a PNG. Deeper
    ones hold whatever the detector gave.
    """
    bits = int(header.BitsStored)
    if "PixelData" not in header or bits > 8:
        return robust_range(values, census())
    lowest = -(1 << (bits - 1)) if header.get("PixelRepresentation") == 1 else 0
    possible = modality_values(np.arange(lowest, lowest + (1 << bits), dtype=np.float64), header)
    return float(possible.min()), float(possible.max())


def _first_number(header: Dataset, keyword: str) -> float | None:
    """The first of possibly several numbers, or None where there is none.

    Raises:
        ValueError: it is not finite; a decimal string (PS3.5 6.2) cannot say so.
    """
    value = header.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return None
    if not math.isfinite(number := float(value)):
        raise ValueError(keyword)
    return number


def _little(header: Dataset) -> bool:
    return header.original_encoding[1] is not False
