"""A strict reading of the PNG and JPEG films of the cases."""

import struct
import zlib
from pathlib import Path

import numpy as np

from mmil_cli.stages.fuzz.elements import Refused
from mmil_cli.stages.fuzz.jpegs import BrokenJpeg, strict_jpeg
from mmil_cli.stages.fuzz.reading import Array, strict_film

_PNG = b"\x89PNG\r\n\x1a\n"


def strict_picture(path: Path) -> Array:
    """The film [0, 1] of a PNG of 8 grey bits, a JPEG or a DICOM file.

    Raises:
        Refused: it is damaged, or of a kind that is not vouched for here.
    """
    data = path.read_bytes()
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    return strict_film(path)


def _png(data: bytes) -> Array:
    """Chunks with their check sums, and the five filters of the PNG specification."""
    at, packed, header = len(_PNG), b"", b""
    while True:
        if at + 12 > len(data):
            raise Refused("cut off")
        length, name = struct.unpack(">L4s", data[at : at + 8])
        body, check = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(check) < 4 or struct.unpack(">L", check)[0] != zlib.crc32(name + body):
            raise Refused("check sum")
        header = body if name == b"IHDR" else header
        packed += body if name == b"IDAT" else b""
        at += 12 + length
        if name == b"IEND":
            break
    width, height, *kind = struct.unpack(">LLBBBBB", header)
    if kind != [8, 0, 0, 0, 0] or width * height > 1 << 24:
        raise Refused("kind")
    try:
        lines = zlib.decompress(packed)
    except zlib.error as fault:
        raise Refused("deflate") from fault
    if len(lines) != height * (width + 1):
        raise Refused("length")
    return _unfiltered(np.frombuffer(lines, np.uint8).reshape(height, width + 1)) / 255.0


def _unfiltered(lines: np.ndarray) -> np.ndarray:
    above = [0] * (lines.shape[1] - 1)
    film = []
    for kind, *line in lines.tolist():
        row: list[int] = []
        for place, value in enumerate(line):
            left, up, corner = (
                (row[-1], above[place], above[place - 1] if place else 0) if row else (0, above[place], 0)
            )
            row.append((value + (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]) % 256)
        film.append(row)
        above = row
    return np.array(film)


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def _jpeg(data: bytes) -> Array:
    try:
        return strict_jpeg(data) / 255.0
    except BrokenJpeg as fault:
        raise Refused("JPEG") from fault
