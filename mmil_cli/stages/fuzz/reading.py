"""A second, strict and slow reading of a DICOM film, sharing no code with the one that preprocess uses.

It walks the elements of PS3.5 by itself, refuses what the standard does not allow where pixels depend on it,
decodes RLE and grey JPEG by hand and leaves other codestreams to GDCM, which preprocess uses for lossless
JPEG alone. What it cannot vouch for it refuses (`Refused`).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmil_cli.stages.fuzz.elements import PIXELS, Header, Refused, read_elements
from mmil_cli.stages.fuzz.stored import stored_values

Array = NDArray[np.float64]
_MOST_PIXELS = 10_000_000


def strict_film(path: Path) -> Array:
    """The film as displayed, [0, 1].

    Raises:
        Refused: it is damaged, or of a kind that is not vouched for here.
    """
    syntax, elements, order = read_elements(path.read_bytes())
    get = Header(elements, order)
    rows, columns = get.word(0x00280010), get.word(0x00280011)
    if get.word(0x00280002) != 1 or get.text(0x00280004) not in ("MONOCHROME1", "MONOCHROME2"):
        raise Refused("colour")
    if get.text(0x00280008, "1").strip() not in ("1", "") or not 0 < rows * columns <= _MOST_PIXELS:
        raise Refused("frames or size")
    stored = stored_values(path, syntax, elements[PIXELS], get, (rows, columns))
    return _displayed(stored, get)


def _displayed(stored: Array, get: Header) -> Array:
    """Modality transform, window and inversion, formula by formula."""
    if 0x00283000 in get.elements or 0x00283010 in get.elements:
        raise Refused("tables are not read here")
    slope, intercept = get.number(0x00281053), get.number(0x00281052)
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    values: Array = stored * slope + intercept
    padding = _padding(stored, get)
    center, width = get.number(0x00281050), get.number(0x00281051)
    function = get.text(0x00281056).upper() or "LINEAR"
    if center is None or width is None or width < (1 if function == "LINEAR" else np.nextafter(0, 1)):
        shown: Array = _without_window(values, values[~padding], get, slope, intercept)
    elif function == "SIGMOID":
        shown = 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    elif function == "LINEAR_EXACT":
        shown = np.clip((values - center) / width + 0.5, 0, 1)
    elif function == "LINEAR" and width > 1:
        shown = np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
    elif function == "LINEAR":
        shown = (values > center - 0.5).astype(np.float64)
    else:
        raise Refused("function")
    inverse = get.text(0x20500020) == "INVERSE" or get.text(0x00280004) == "MONOCHROME1"
    shown = 1 - shown if inverse else shown
    return np.where(padding, 0.0, shown)


def _padding(stored: Array, get: Header) -> NDArray[np.bool_]:
    """Where pixels are padding: of one value, or from it to a limit."""
    ends = [get.signed(tag) for tag in (0x00280120, 0x00280121) if get.elements.get(tag)]
    if not get.elements.get(0x00280120):
        return np.zeros(stored.shape, np.bool_)
    return (stored >= min(ends)) & (stored <= max(ends))


def _without_window(values: Array, seen: Array, get: Header, slope: float, intercept: float) -> Array:
    bits, signed = get.word(0x00280101), get.word(0x00280103, 0)
    if bits <= 8:
        lowest = -(1 << (bits - 1)) if signed else 0
        low, high = sorted(end * slope + intercept for end in (lowest, lowest + (1 << bits) - 1))
    else:
        if np.isnan(seen).any():
            raise Refused("a range of what is not known")
        if not seen.size:
            return np.zeros_like(values)
        ordered = np.sort(seen, axis=None)
        cut = int(ordered.size * 0.005)
        low, high = ordered[cut], ordered[-1 - cut]
        low, high = (low, high) if high > low else (ordered[0], ordered[-1])
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)
