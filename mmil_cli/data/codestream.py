"""The first markers of JPEG, JPEG-LS and JPEG 2000 codestreams: what a decoder is about to be asked for."""

from dataclasses import dataclass

_J2K_START = b"\xff\x4f\xff\x51"
_JPEG_START = b"\xff\xd8"
_END = b"\xff\xd9"
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_TAIL_BYTES = 64
"""Writers pad after the end marker, seldom by more than a byte."""


@dataclass(frozen=True)
class Codestream:
    """What a codestream says of itself."""

    width: int
    height: int
    bits: int


def read_codestream(data: bytes) -> Codestream | None:
    """Size and depth declared by a codestream; None when it has no readable frame header."""
    start = data.find(_J2K_START, 0, 4096)
    if start >= 0:
        return _jpeg_2000(data[start : start + 64])
    if data.startswith(_JPEG_START):
        return _jpeg(data)
    return None


def is_complete(data: bytes) -> bool:
    """Whether the end marker is there. Decoders paint what is missing grey, often without a word."""
    return _END in data[-_TAIL_BYTES:]


def _jpeg_2000(head: bytes) -> Codestream | None:
    """The SIZ segment: right and lower edge of the reference grid, less the image's offset on it."""
    if len(head) < 43:
        return None
    right, lower, left, upper = (int.from_bytes(head[at : at + 4]) for at in (8, 12, 16, 20))
    return Codestream(width=right - left, height=lower - upper, bits=(head[42] & 0x7F) + 1)


def _jpeg(data: bytes) -> Codestream | None:
    """Walk the marker segments to the frame header (SOF)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _FRAME_MARKERS:
            height, width = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            return Codestream(width=width, height=height, bits=data[at + 4])
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None
