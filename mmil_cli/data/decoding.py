"""The stored values of a DICOM dataset: checked first, then decoded by the one decoder of its syntax."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from mmil_cli.data import jpeg
from mmil_cli.data.checks import refuse_large
from mmil_cli.data.codestream import is_complete, read_codestream
from mmil_cli.data.reasons import Reason, rejected
from mmil_cli.errors import RejectedRecord

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_SELF_DESCRIBED = frozenset(JPEG2000TransferSyntaxes + JPEGLSTransferSyntaxes)
_CODESTREAMS = _SELF_DESCRIBED | frozenset(JPEGTransferSyntaxes)
_JPEG_8_BIT = (JPEGBaseline8Bit, JPEGExtended12Bit)
_FASTEST = {
    **dict.fromkeys(_JPEG_8_BIT, jpeg.PLUGIN),
    **dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg"),
    **dict.fromkeys(JPEGLSTransferSyntaxes, "pyjpegls"),
}
"""Against GDCM, 5 times faster for JPEG and up to twice for the others, and stricter with damaged data."""

_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"

Codes = NDArray[np.generic]


def decode_frame(header: Dataset, path: Path) -> Codes:
    """Decode the only frame: [H, W] or, in colour, [H, W, 3], in the type of its allocated bits.

    Bits above those stored are left as they are (see `value_bits`). Colour comes as RGB.

    Raises:
        RejectedRecord: the pixel data is too large, cut off, or in a form that no decoder here reads.
    """
    refuse_large(path, width=int(header.Columns), height=int(header.Rows))
    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        _check_codestream(header, syntax, path)
    else:
        _check_length(header, path)
    _check_bits(header, syntax, path)
    wide = int(header.BitsAllocated) > 16
    options: dict[str, Any] = {} if syntax in _SELF_DESCRIBED else {"correct_unused_bits": wide}
    try:
        pixels = pixel_array(header, decoding_plugin=_plugin(header, syntax), view_only=True, **options)
    except NotImplementedError as fault:
        raise rejected(
            Reason.UNSUPPORTED_SYNTAX, path, f"is {syntax.name}, which no decoder here reads"
        ) from fault
    return pixels if pixels.dtype.isnative else pixels.astype(pixels.dtype.newbyteorder("="))


def value_bits(header: Dataset, codes: Codes) -> tuple[int, int]:
    """(shift, bits): where the value lies within each code.

    The other bits of a word may hold anything, such as old overlays. JPEG-LS and JPEG 2000 state their own
    depth, which the decoder has used: there all bits count, even if the header declares fewer.
    """
    syntax = header.file_meta.TransferSyntaxUID
    allocated, stored = codes.dtype.itemsize * 8, int(header.BitsStored)
    if syntax in _SELF_DESCRIBED:
        return 0, allocated
    placed = not syntax.is_encapsulated or syntax == RLELossless
    high_bit = int(header.get("HighBit") or 0)
    shift = high_bit + 1 - stored if placed and stored <= high_bit + 1 <= allocated else 0
    return shift, min(stored, allocated)


def _plugin(header: Dataset, syntax: UID) -> str:
    """The decoder of a syntax; of colour JPEG Pillow, which knows the transforms of DICOM."""
    jpeg.add_plugin()
    is_colour_jpeg = syntax in _JPEG_8_BIT and header.SamplesPerPixel != 1
    return "pillow" if is_colour_jpeg else _FASTEST.get(syntax, "")


def _check_bits(header: Dataset, syntax: UID, path: Path) -> None:
    """Refuse a value that would lie outside its word; a missing High Bit is the highest of the value."""
    allocated, stored, high = (header.get(name) for name in ("BitsAllocated", "BitsStored", "HighBit"))
    if high is None or syntax in _SELF_DESCRIBED or stored - 1 <= high < allocated:
        return
    raise rejected(Reason.UNREADABLE, path, "declares bits that contradict each other in its header")


def _check_length(header: Dataset, path: Path) -> None:
    if "PixelData" not in header:
        return
    held, expected = len(header.PixelData), get_expected_length(header)
    if held < expected:
        raise rejected(
            Reason.TRUNCATED, path, f"is cut off: it holds {held} of {expected} bytes of pixel data"
        )
    if held >= 2 * expected:  # pydicom would take it for several frames
        raise _other_size(path)


def _has_whole_fragments(data: bytes) -> bool:
    """Whether encapsulated pixel data is items of their told lengths and nothing else (PS3.5 A.4)."""
    at = 0
    while at + 8 <= len(data) and data[at : at + 4] == _ITEM:
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    return at == len(data) or (at < len(data) and data[at : at + 4] == _SEQUENCE_END)


def _check_codestream(header: Dataset, syntax: UID, path: Path) -> None:
    """Refuse what decoders would fill up, choke on or take all memory for."""
    if not _has_whole_fragments(header.PixelData):
        raise rejected(Reason.TRUNCATED, path, "is cut off: pieces of its pixel data are not as long as told")
    data = get_frame(header.PixelData, 0, number_of_frames=1)
    stream = read_codestream(data) if syntax in _CODESTREAMS else None
    if stream is None:
        return
    if not is_complete(data):
        raise rejected(Reason.TRUNCATED, path, f"is cut off: its pixel data ({syntax.name}) has no end")
    if (stream.height, stream.width) != (header.Rows, header.Columns):
        raise _other_size(path)
    if stream.bits > 8 and syntax in _JPEG_8_BIT:
        raise rejected(
            Reason.UNSUPPORTED_SYNTAX,
            path,
            f"is {stream.bits}-bit {syntax.name}, which no decoder here reads",
        )
    if syntax in _JPEG_8_BIT and header.SamplesPerPixel != 1:
        jpeg.decode_jpeg(data, colours="RGB")  # for its faults alone: Pillow has none


def _other_size(path: Path) -> RejectedRecord:
    return rejected(Reason.UNREADABLE, path, "declares one size in its header and another in its pixel data")
