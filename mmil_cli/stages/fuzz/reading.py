"""A second, strict and slow reading of a DICOM film, sharing no code with the one that preprocess uses.

It walks the elements of PS3.5 by itself, refuses what the standard does not allow where pixels depend on it,
decodes RLE and grey JPEG by hand and leaves other codestreams to GDCM, which preprocess uses for lossless
JPEG alone. What it cannot vouch for it refuses (`Refused`).
"""

import math
import os
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmil_cli.stages.fuzz.jpegs import BrokenJpeg, strict_jpeg

Array = NDArray[np.float64]
Elements = dict[int, bytes]

_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
_SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH",
          b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}  # fmt: skip
_IMPLICIT, _EXPLICIT, _DEFLATED, _BIG = (f"1.2.840.10008.1.2{part}" for part in ("", ".1", ".1.99", ".2"))
_RLE, _JPEG = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS = 0x7FE00010
_MOST_PIXELS = 10_000_000


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


def strict_film(path: Path) -> Array:
    """The film as displayed, [0, 1].

    Raises:
        Refused: it is damaged, or of a kind that is not vouched for here.
    """
    syntax, elements, order = _elements(path.read_bytes())
    get = _Header(elements, order)
    rows, columns = get.word(0x00280010), get.word(0x00280011)
    if get.word(0x00280002) != 1 or get.text(0x00280004) not in ("MONOCHROME1", "MONOCHROME2"):
        raise Refused("colour")
    if get.text(0x00280008, "1").strip() not in ("1", "") or not 0 < rows * columns <= _MOST_PIXELS:
        raise Refused("frames or size")
    stored = _stored(path, syntax, elements[_PIXELS], get, (rows, columns))
    return _displayed(stored, get)


def _elements(data: bytes) -> tuple[str, Elements, str]:
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
    if syntax == _DEFLATED:
        try:
            body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, 1 << 26)
        except zlib.error as fault:
            raise Refused("deflate") from fault
    reader = _Reader(body, syntax == _BIG, syntax != _IMPLICIT)
    return syntax, _dataset(reader), ">" if reader.big else "<"


def _dataset(reader: _Reader) -> Elements:
    """The elements up to the pixel data, each of them once."""
    found: Elements = {}
    while reader.at < len(reader.data):
        tag, vr, length = reader.head()
        if tag in found:
            raise Refused("twice")
        if tag == _PIXELS and length == _UNDEFINED:
            found[tag] = _fragments(reader)
            return found
        if length == _UNDEFINED or vr == b"SQ":
            found[tag] = _sequence(reader, length, 0)
        else:
            found[tag] = reader.take(length)
        if tag == _PIXELS:
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
class _Header:
    """Values out of the elements."""

    elements: Elements
    order: str

    def word(self, tag: int, default: int | None = None) -> int:
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


def _stored(path: Path, syntax: str, data: bytes, get: _Header, shape: tuple[int, int]) -> Array:
    allocated, bits = get.word(0x00280100), get.word(0x00280101)
    high = get.word(0x00280102, bits - 1)  # without it the value is the lowest bits, as everybody writes them
    signed = get.word(0x00280103, 0)
    if (
        allocated not in (8, 16)
        or not 1 <= bits <= allocated
        or not bits - 1 <= high < allocated
        or signed > 1
    ):
        raise Refused("bits")
    width = allocated // 8
    size = shape[0] * shape[1] * width
    if syntax in (_IMPLICIT, _EXPLICIT, _DEFLATED, _BIG):
        words = _words(data, size, f"{get.order}u{width}", swapped=syntax == _BIG and width == 1)
    elif syntax == _RLE:
        words = _words(_unpacked(data, width, size), size, f"<u{width}", swapped=False)
    elif syntax == _JPEG:
        return _of_jpeg(data, shape, get)
    else:
        return _of_codestream(path, shape).astype(np.float64)
    values = (words.astype(np.int64).reshape(shape) >> (high + 1 - bits)) & ((1 << bits) - 1)
    values = values - ((values >> (bits - 1)) << bits) if signed else values
    return values.astype(np.float64)


def _of_jpeg(data: bytes, shape: tuple[int, int], get: _Header) -> Array:
    try:
        values = strict_jpeg(data)
    except BrokenJpeg as fault:
        raise Refused("JPEG") from fault
    if values.shape != shape:
        raise Refused("size")
    if get.word(0x00280103, 0) == 1:
        values = np.where(values >= 128, values - 256, values)
    return values


def _words(data: bytes, size: int, kind: str, *, swapped: bool) -> NDArray[np.unsignedinteger]:
    if len(data) < size:
        raise Refused("cut off")
    if swapped:  # bytes in words of the other order
        data = np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes()
    return np.frombuffer(data[:size], kind)


def _unpacked(data: bytes, width: int, size: int) -> bytes:
    """RLE (PS3.5 G): one segment for each byte of a word, the highest first."""
    starts = [int.from_bytes(data[at : at + 4], "little") for at in range(4, 64, 4)][:width]
    if len(data) < 64 or int.from_bytes(data[:4], "little") != width or starts != sorted(starts):
        raise Refused("RLE header")
    planes = []
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        plane = bytearray()
        at = start
        while len(plane) < size // width:
            if not 64 <= at < end:
                raise Refused("RLE")
            code = data[at]
            count = 257 - code if code > 128 else code + 1 if code < 128 else 0
            piece = data[at + 1 : min(end, at + 1 + (count if code < 128 else 1))]
            if count and len(piece) < (count if code < 128 else 1):
                raise Refused("RLE")
            plane += piece * count if code > 128 else piece if code < 128 else b""
            at += 1 + (len(piece) if count else 0)
        planes.append(plane[: size // width])
    return np.stack([np.frombuffer(plane, np.uint8) for plane in reversed(planes)], axis=1).tobytes()


def _of_codestream(path: Path, shape: tuple[int, int]) -> NDArray[np.int64]:
    """What GDCM decodes, in a process of its own: some damage ends it."""
    values = np.frombuffer(_apart(lambda: _decoded(path)), np.int64)
    if values.size != shape[0] * shape[1]:
        raise Refused("size")
    return values.reshape(shape)


def _decoded(path: Path) -> bytes:
    import gdcm  # type: ignore[import-untyped]

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise Refused("GDCM")
    image = reader.GetImage()
    kind = {gdcm.PixelFormat.UINT8: "u1", gdcm.PixelFormat.INT8: "i1", gdcm.PixelFormat.UINT16: "<u2",
            gdcm.PixelFormat.INT16: "<i2", gdcm.PixelFormat.UINT12: "<u2"}  # fmt: skip
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(buffer, kind[image.GetPixelFormat().GetScalarType()]).astype(np.int64).tobytes()


def _apart(work: Callable[[], bytes]) -> bytes:
    """The bytes that a fork of this process comes to.

    Raises:
        Refused: it ends otherwise.
    """
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other threads hold no lock that the decoder would wait for
        child = os.fork()
    if child == 0:
        os.close(ours)
        try:
            with os.fdopen(theirs, "wb") as pipe:
                pipe.write(work())
            os._exit(0)
        except BaseException:  # noqa: BLE001 - nothing of a fork may go on
            os._exit(1)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        content = pipe.read()
    if os.waitpid(child, 0)[1] != 0:
        raise Refused("GDCM")
    return content


def _displayed(stored: Array, get: _Header) -> Array:
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


def _padding(stored: Array, get: _Header) -> NDArray[np.bool_]:
    """Where pixels are padding: of one value, or from it to a limit."""
    ends = [get.signed(tag) for tag in (0x00280120, 0x00280121) if get.elements.get(tag)]
    if not get.elements.get(0x00280120):
        return np.zeros(stored.shape, np.bool_)
    return (stored >= min(ends)) & (stored <= max(ends))


def _without_window(values: Array, seen: Array, get: _Header, slope: float, intercept: float) -> Array:
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
