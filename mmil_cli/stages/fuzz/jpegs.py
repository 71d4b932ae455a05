"""A second, strict and slow reading of grey baseline JPEG (ITU-T T.81), sharing no code with any library.

Where bytes were damaged within the coded data, other code words may stand there that are as good as the ones
before: like a changed byte of raw pixels, nothing tells. Such a film is what its bytes say. Only where they
say coefficients that no picture has do readers come to different grey; there this one gives NaN.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = dict[tuple[int, int], int]
"""Symbol by (length, code)."""

_SIDE, _BLOCK = 8, 64
_MOST_COEFFICIENTS = 4096.0
"""Sum of the sizes of a block's coefficients up to which decoders in 16 bits do not overflow."""

_ZIGZAG = sorted(
    ((row, column) for row in range(_SIDE) for column in range(_SIDE)),
    key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
)
_BASIS = np.array(
    [
        [np.sqrt((1 if k == 0 else 2) / _SIDE) * np.cos((2 * x + 1) * k * np.pi / 16) for x in range(_SIDE)]
        for k in range(_SIDE)
    ]
)


class BrokenJpeg(ValueError):
    """The data is damaged, or no grey baseline JPEG of 8 bits."""


def strict_jpeg(data: bytes) -> Array:
    """Grey levels float [H, W] in [0, 255]; NaN where readers need not agree.

    Raises:
        BrokenJpeg: see there.
    """
    quantisers: dict[int, Array] = {}
    tables: dict[int, Codes] = {}
    frame = b""
    for marker, body, after in _segments(data):
        if marker == 0xDB:
            quantisers |= _quantisers(body)
        elif marker == 0xC4:
            tables |= _tables(body)
        elif marker in (0xC0, 0xC1):
            if frame or len(body) != 9 or body[0] != 8 or body[5] != 1:
                raise BrokenJpeg("frame")
            frame = body
        elif marker == 0xDA:
            return _scan(data[after:], frame, body, quantisers, tables)
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            raise BrokenJpeg("marker")
    raise BrokenJpeg("no scan")


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, body and end of each segment up to the coded data: nothing may lie between them."""
    if data[:2] != b"\xff\xd8":
        raise BrokenJpeg("start")
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise BrokenJpeg("bytes between segments")
        if data[at + 1] == 0xFF:
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if end < at + 4 or end > len(data):
            raise BrokenJpeg("length")
        yield data[at + 1], data[at + 4 : end], end
        at = end


def _quantisers(body: bytes) -> dict[int, Array]:
    found: dict[int, Array] = {}
    while body:
        number, size = body[0] & 15, 1 + (body[0] >> 4)
        piece, body = body[1 : 1 + _BLOCK * size], body[1 + _BLOCK * size :]
        if size > 2 or len(piece) < _BLOCK * size:
            raise BrokenJpeg("quantisers")
        found[number] = np.frombuffer(piece, f">u{size}").astype(np.float64)
    return found


def _tables(body: bytes) -> dict[int, Codes]:
    """Huffman tables by class and number (T.81 C.2)."""
    found: dict[int, Codes] = {}
    while body:
        counts, total = body[1:17], sum(body[1:17])
        symbols = body[17 : 17 + total]
        if len(counts) < 16 or len(symbols) < total:
            raise BrokenJpeg("Huffman table")
        codes: Codes = {}
        code = place = 0
        for length, count in enumerate(counts, start=1):
            for _ in range(count):
                codes[length, code] = symbols[place]
                code, place = code + 1, place + 1
            if code > 1 << length:
                raise BrokenJpeg("Huffman code")
            code <<= 1
        found[body[0]] = codes
        body = body[17 + total :]
    return found


class _Bits:
    """The coded data bit by bit, its stuffed zeros taken out."""

    def __init__(self, data: bytes) -> None:
        end = next((at for at in range(len(data) - 1) if data[at] == 0xFF and data[at + 1] != 0), len(data))
        self.rest = data[end:].lstrip(b"\xff")
        plain = data[:end].removesuffix(b"\xff").replace(b"\xff\0", b"\xff")  # half of a marker is no data
        self._bits = "".join(f"{byte:08b}" for byte in plain)
        self._at = 0

    def take(self, count: int) -> int:
        if self._at + count > len(self._bits):
            raise BrokenJpeg("premature end")
        self._at += count
        return int(self._bits[self._at - count : self._at] or "0", 2)

    def are_used(self) -> bool:
        """Whether nothing is left but the rest of a byte, and zeros that did not begin among those used."""
        used = -(-self._at // _SIDE) * _SIDE
        return "1" not in self._bits[used:] and (
            used == len(self._bits) or "1" in self._bits[used - _SIDE : used]
        )

    def symbol(self, codes: Codes) -> int:
        code = 0
        for length in range(1, 17):
            code = code << 1 | self.take(1)
            if (length, code) in codes:
                return codes[length, code]
        raise BrokenJpeg("bad code")

    def number(self, size: int) -> int:
        """T.81 F.2.2.1: the first half of the values of a size is negative."""
        value = self.take(size)
        return value if size == 0 or value >> (size - 1) else value - (1 << size) + 1


def _scan(
    data: bytes, frame: bytes, scan: bytes, quantisers: dict[int, Array], tables: dict[int, Codes]
) -> Array:
    if not frame or len(scan) != 6 or scan[0] != 1 or scan[1] != frame[6]:
        raise BrokenJpeg("scan")
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    try:
        quantiser, steady, wavy = quantisers[frame[8]], tables[scan[2] >> 4], tables[16 | scan[2] & 15]
    except KeyError as fault:
        raise BrokenJpeg("a table that is not there") from fault
    rows, columns = -(-height // _SIDE), -(-width // _SIDE)
    if not 0 < rows * columns <= 10_000:
        raise BrokenJpeg("size")
    bits, mean = _Bits(data), 0
    film = np.empty((rows * _SIDE, columns * _SIDE))
    for place in range(rows * columns):
        block, mean = _block(bits, steady, wavy, mean)
        top, left = place // columns * _SIDE, place % columns * _SIDE
        film[top : top + _SIDE, left : left + _SIDE] = _grey(block * quantiser)
    if not bits.are_used() or bits.rest[:1] not in (b"\xd9", b""):
        raise BrokenJpeg("bytes before the end")
    return film[:height, :width]


def _block(bits: _Bits, steady: Codes, wavy: Codes, mean: int) -> tuple[Array, int]:
    """64 coefficients in zigzag order, and the mean that the next block counts from."""
    block = np.zeros(_BLOCK)
    mean += bits.number(bits.symbol(steady) & 15)
    block[0] = mean
    place = 1
    while place < _BLOCK:
        run, size = divmod(bits.symbol(wavy), 16)
        if size == 0 and run < 15:
            break
        place += run
        if size:
            # T.81 has no run over the end of a block; every decoder in use takes it for the last place
            block[min(place, _BLOCK - 1)] = bits.number(size)
        place += 1
    return block, mean


def _grey(coefficients: Array) -> Array:
    if np.abs(coefficients).sum() > _MOST_COEFFICIENTS:
        return np.full((_SIDE, _SIDE), np.nan)
    square = np.zeros((_SIDE, _SIDE))
    for (row, column), value in zip(_ZIGZAG, coefficients, strict=True):
        square[row, column] = value
    return np.clip(np.rint(_BASIS.T @ square @ _BASIS + 128), 0, 255)
