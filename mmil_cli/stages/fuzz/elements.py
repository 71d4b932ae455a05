"""The elements of a DICOM file, walked by themselves (PS3.5): what the standard does not allow is refused."""

import math
import zlib
from dataclasses import dataclass

Elements = dict[int, bytes]

_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
_SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH",
          b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}  # fmt: skip
IMPLICIT, EXPLICIT, DEFLATED, BIG = (f"1.2.840.10008.1.2{part}" for part in ("", ".1", ".1.99", ".2"))
RLE, JPEG = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXELS = 0x7FE00010


class Refused(Exception):
    """The strict reading gives no film."""


@dataclass
class _Reader:
    """A place in the bytes of a dataset."""

    data: bytes
    big: bool
    explicit: bool
    at: int = 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise Refused("cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big" if self.big else "little")

    def tag(self) -> int:
        return self.number(2) << 16 | self.number(2)

    def head(self) -> tuple[int, bytes, int]:
        """Tag, VR and length of the next element."""
        tag = self.tag()
        if tag >> 16 == 0xFFFE or not self.explicit:
            return tag, b"", self.number(4)
        vr = self.take(2)
        if vr in _LONG:
            self.take(2)
            return tag, vr, self.number(4)
        if vr not in _SHORT:
            raise Refused("no VR")
        return tag, vr, self.number(2)


def read_elements(data: bytes) -> tuple[str, Elements, str]:
    """Transfer syntax, elements up to the pixel data, and the order of their bytes (`<` or `>`).

    Raises:
        Refused: the file is damaged.
    """
    if data[128:132] != b"DICM":
        raise Refused("no preamble")
    meta = _Reader(data, False, True, 132)
    found: Elements = {}
    while meta.at < len(data) and data[meta.at : meta.at + 2] == b"\2\0":
        tag, _, length = meta.head()
        found[tag] = meta.take(length)
    syntax = found.get(0x00020010, b"").decode("latin-1").rstrip("\0 ")
    told = 144 + int.from_bytes(found.get(0x00020000, b""), "little")
    try:
        return _body(syntax, data[meta.at :])
    except Refused:
        # A tag among the last of the meta group may be damaged; the length of the group says its end as well.
        if not meta.at < told < len(data):
            raise
        return _body(syntax, data[told:])


def _body(syntax: str, body: bytes) -> tuple[str, Elements, str]:
    if syntax == DEFLATED:
        try:
            body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, 1 << 26)
        except zlib.error as fault:
            raise Refused("deflate") from fault
    reader = _Reader(body, syntax == BIG, syntax != IMPLICIT)
    return syntax, _dataset(reader), ">" if reader.big else "<"


def _dataset(reader: _Reader) -> Elements:
    """The elements up to the pixel data, each of them once."""
    found: Elements = {}
    while reader.at < len(reader.data):
        tag, vr, length = reader.head()
        if tag in found:
            raise Refused("twice")
        if tag == PIXELS and length == _UNDEFINED:
            found[tag] = _fragments(reader)
            return found
        if length == _UNDEFINED or vr == b"SQ":
            found[tag] = _sequence(reader, length, 0)
        else:
            found[tag] = reader.take(length)
        if tag == PIXELS:
            return found
    raise Refused("no pixels")


def _sequence(reader: _Reader, length: int, depth: int) -> bytes:
    """Step over a sequence and give its bytes."""
    if depth > 20:
        raise Refused("depth")
    start, end = reader.at, reader.at + length
    while length == _UNDEFINED or reader.at < end:
        tag, _, size = reader.head()
        if tag == _SEQUENCE_END and length == _UNDEFINED:
            return reader.data[start : reader.at]
        if tag != _ITEM:
            raise Refused("sequence")
        _item(reader, size, depth)
    if reader.at != end:
        raise Refused("sequence")
    return reader.data[start:end]


def _item(reader: _Reader, size: int, depth: int) -> None:
    end = reader.at + size
    while size == _UNDEFINED or reader.at < end:
        tag, vr, length = reader.head()
        if tag == _ITEM_END and size == _UNDEFINED:
            return
        if length == _UNDEFINED or vr == b"SQ":
            _sequence(reader, length, depth + 1)
        else:
            reader.take(length)
    if reader.at != end:
        raise Refused("item")


def _fragments(reader: _Reader) -> bytes:
    """Encapsulated pixel data of one frame, its fragments joined."""
    pieces = []
    while True:
        tag, _, length = reader.head()
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM or length == _UNDEFINED:
            raise Refused("fragments")
        pieces.append(reader.take(length))
    return b"".join(pieces[1:])


@dataclass(frozen=True)
class Header:
    """Values out of the elements."""

    elements: Elements
    order: str

    def word(self, tag: int, default: int | None = None) -> int:
        """An unsigned number of 16 bits."""
        data = self.elements.get(tag)
        if not data and default is not None:
            return default
        if data is None or len(data) != 2:
            raise Refused(f"{tag:08x}")
        return int.from_bytes(data, "big" if self.order == ">" else "little")

    def signed(self, tag: int) -> int:
        """A word in the sign of the pixels."""
        value = self.word(tag)
        return value - 65536 if self.word(0x00280103, 0) == 1 and value > 32767 else value

    def text(self, tag: int, default: str = "") -> str:
        """A text without the blanks around it."""
        return self.elements.get(tag, default.encode()).decode("latin-1").strip(" \0")

    def number(self, tag: int) -> float | None:
        """The first of the numbers of a decimal string."""
        text = self.text(tag).split("\\")[0].strip()
        if not text:
            return None
        try:
            value = float(text)
        except ValueError as fault:
            raise Refused(f"{tag:08x}") from fault
        if "_" in text or not math.isfinite(value):
            raise Refused(f"{tag:08x}")
        return value
