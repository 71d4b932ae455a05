"""What encoders of the field get wrong in JPEG (ITU-T T.81) without a pixel being lost.

Only bytes that no pixel is made of are changed, and what comes out is decoded as strictly as anything else:
where more is wrong than is mended here, it stays refused. Not mended is what a decoder would have to guess:
coded data that is cut off, has other codes, or leaves more behind than padding.
"""

import re
from dataclasses import dataclass

_MENDABLE = re.compile(
    r"unknown JFIF revision|bad ICC marker|Invalid SOS parameters|Premature end of JPEG file"
    r"|Corrupt JPEG data: (?P<padding>\d+ )extraneous bytes before marker 0xd9"
)
"""Of libjpeg's warnings those that may be on nothing but a mark, a profile of colours, or padding."""

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SCAN, _JFIF, _ICC = 0xDA, 0xE0, 0xE2
_SEQUENTIAL = (0xC0, 0xC1)
_ANOTHER_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True)
class _Head:
    """What stands before the coded data: its length, and its bytes when they are put right."""

    length: int
    mended: bytes
    is_single: bool


def mended(data: bytes, fault: str) -> bytes | None:
    """The file without the fault that libjpeg found first; None where it is none of those.

    Of sequential files of one scan the scan's parameters, which have one value only, the mark of the end and
    zeros before it are put right; of all files the revision of JFIF, and profiles of colours are left out.
    """
    found, head = _MENDABLE.search(fault), _head(data)
    if found is None or head is None:
        return None
    coded = data[head.length :]
    if not head.is_single or _ANOTHER_MARKER.search(coded.removesuffix(_END)):
        return head.mended + coded
    if found["padding"]:
        coded = _without_padding(coded)
    elif not coded.endswith((_END, b"\0\0")):  # a tail of zeros is a lost block of a disk
        coded = coded.removesuffix(b"\xff") + _END
    return head.mended + coded


def _without_padding(coded: bytes) -> bytes:
    """The coded data without zeros before its end; the decoder misses them if a pixel had used any."""
    body = coded.removesuffix(_END).rstrip(b"\0")
    return coded if body.endswith(b"\xff") else body + _END


def _head(data: bytes) -> _Head | None:
    """The segments up to the first scan; None where there is none."""
    parts, at, components = [_START], len(_START), b""
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4])
        segment = data[at:end]
        if marker in _SEQUENTIAL:
            components = segment[9:10]
        if marker == _JFIF and segment[4:9] == b"JFIF\0":
            segment = segment[:9] + b"\1\1" + segment[11:]
        if marker == _SCAN:
            is_single = components == segment[4:5]
            parts.append(segment[:-3] + b"\0\x3f\0" if is_single else segment)
            return _Head(end, b"".join(parts), is_single)
        if marker != _ICC:
            parts.append(segment)
        at = end
    return None
