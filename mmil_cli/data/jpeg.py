"""Grey and colour JPEG decoded by a decoder that says when the data is damaged.

Pillow decodes with the same library and to the same values, but drops its warnings: what is damaged comes
out grey or torn, and nobody is told.
"""

from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from pydicom.pixels.decoders import JPEGBaseline8BitDecoder, JPEGExtended12BitDecoder
from pydicom.pixels.decoders.base import DecodeRunner

from mmil_cli.data.jpeg_mending import mended

PLUGIN = "strict-jpeg"
"""The name under which pydicom knows the decoder of grey JPEG."""

DECODER_DEPENDENCIES = dict.fromkeys(
    (JPEGBaseline8BitDecoder.UID, JPEGExtended12BitDecoder.UID), ("simplejpeg>=1.8",)
)
"""Asked for by pydicom of every plugin."""

_UNKNOWN = "Could not determine subsampling"
"""Of grey films it is said of damaged heads alone; of colours, Pillow has to judge."""

Colours = Literal["GRAY", "RGB", "CMYK"]


class DamagedJpeg(ValueError):
    """The data cannot be decoded, or not without guessing what is missing."""


def decode_jpeg(data: bytes, *, colours: Colours) -> NDArray[np.uint8] | None:
    """Decode to uint8 [H, W, channel]; None where colours are sampled as only Pillow knows.

    What encoders get wrong beside the pixels is mended first (`data.jpeg_mending`).

    Raises:
        DamagedJpeg: the data is no JPEG, is cut off, or holds bytes that no picture is made of.
    """
    try:
        return _strictly(data, colours)
    except DamagedJpeg as fault:
        repaired = mended(data, str(fault))
        if repaired is None:
            raise
        try:
            return _strictly(repaired, colours)
        except DamagedJpeg:
            raise fault from None  # what was found first says best what happened to the file


def _strictly(data: bytes, colours: Colours) -> NDArray[np.uint8] | None:
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace=colours))
    except ValueError as fault:
        if _UNKNOWN in str(fault) and colours != "GRAY":
            return None
        raise DamagedJpeg(str(fault)) from fault  # every warning counts: the first one alone is told


def is_available(uid: str) -> bool:
    """Asked for by pydicom of every plugin."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(source: bytes, _runner: DecodeRunner) -> bytes:
    """The plugin: one grey frame."""
    grey = decode_jpeg(source, colours="GRAY")
    assert grey is not None
    return grey.tobytes()


def add_plugin() -> None:
    """Make pydicom know the decoder; done once a process."""
    for decoder in (JPEGBaseline8BitDecoder, JPEGExtended12BitDecoder):
        if PLUGIN not in decoder.available_plugins:
            decoder.add_plugin(PLUGIN, (__name__, decode_frame.__name__))
