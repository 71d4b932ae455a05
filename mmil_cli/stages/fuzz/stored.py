"""The stored values of a DICOM film, decoded by hand where that can be done, else by GDCM."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmil_cli.stages.fuzz.elements import BIG, DEFLATED, EXPLICIT, IMPLICIT, JPEG, RLE, Header, Refused
from mmil_cli.stages.fuzz.jpegs import BrokenJpeg, strict_jpeg

Array = NDArray[np.float64]


def stored_values(path: Path, syntax: str, data: bytes, get: Header, shape: tuple[int, int]) -> Array:
    """Values [H, W] before any transform.

    Raises:
        Refused: the pixel data is damaged, or of a kind that is not vouched for here.
    """
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
    if syntax in (IMPLICIT, EXPLICIT, DEFLATED, BIG):
        words = _words(data, size, f"{get.order}u{width}", swapped=syntax == BIG and width == 1)
    elif syntax == RLE:
        words = _words(_unpacked(data, width, size), size, f"<u{width}", swapped=False)
    elif syntax == JPEG:
        return _of_jpeg(data, shape, get)
    else:
        return _of_codestream(path, shape).astype(np.float64)
    values = (words.astype(np.int64).reshape(shape) >> (high + 1 - bits)) & ((1 << bits) - 1)
    values = values - ((values >> (bits - 1)) << bits) if signed else values
    return values.astype(np.float64)


def _of_jpeg(data: bytes, shape: tuple[int, int], get: Header) -> Array:
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
        # As broad as can be: the fork is a copy of this process, and whatever passed here would go on as it.
        except BaseException:  # noqa: BLE001
            os._exit(1)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        content = pipe.read()
    if os.waitpid(child, 0)[1] != 0:
        raise Refused("GDCM")
    return content
