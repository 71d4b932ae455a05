"""The check sums of PNG, which Pillow does not look at where the pixels are."""

import zlib

_START = 8
_FRAME = 12
"""Bytes of a chunk beside its content: length, name, check sum."""


def check_png(data: bytes) -> None:
    """Look at every chunk up to the last one.

    Raises:
        ValueError: a check sum is wrong, or the file is truncated.
    """
    at = _START
    with memoryview(data) as view:
        while at + _FRAME <= len(data):
            end = at + _FRAME + int.from_bytes(data[at : at + 4])
            if end > len(data):
                break
            if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
                raise ValueError("check sum")
            if data[at + 4 : at + 8] == b"IEND":
                return
            at = end
    raise ValueError("truncated")
