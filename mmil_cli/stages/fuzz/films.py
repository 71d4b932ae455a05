"""Whole DICOM, PNG and JPEG films, and ways to damage them that know their format."""

import struct
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from mmil_cli.stages.fuzz.damage import EVERYWHERE, Generator

HEIGHT, WIDTH = 44, 40
SYNTAXES = (
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
    RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGBaseline8Bit,
)  # fmt: skip
_CODED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)
_WINDOWS: tuple[Mapping[str, Any], ...] = (
    {},
    {"WindowCenter": "2000", "WindowWidth": "2600"},
    {"WindowCenter": "1800", "WindowWidth": "2000", "VOILUTFunction": "SIGMOID"},
    {
        "WindowCenter": ["900", "1"],
        "WindowWidth": ["3000", "1"],
        "RescaleSlope": "1.5",
        "RescaleIntercept": "-9",
    },
)


def film(number: int) -> np.ndarray:
    """12-bit values [H, W] that no other number has."""
    generator = np.random.default_rng(number)
    ramp = np.linspace(300, 3700, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    return np.clip(ramp + generator.normal(0, 150, (HEIGHT, WIDTH)), 0, 4095).astype(np.uint16)


@cache
def dicom(number: int, syntax: UID, window: int, *, inverted: bool) -> bytes:
    """A whole film: 12 bits, but 8 of the baseline JPEG."""
    dataset, values = Dataset(), film(number)
    is_jpeg = syntax == JPEGBaseline8Bit
    bits = 8 if is_jpeg else 12
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, UID(f"1.2.9.{number}")
    dataset.StudyInstanceUID, dataset.PatientID, dataset.PatientName = (
        UID(f"1.2.8.{number}"),
        f"P{number}",
        "N^N",
    )
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 if is_jpeg else 16, bits, bits - 1
    dataset.PixelRepresentation = 0
    for keyword, value in ({} if is_jpeg else _WINDOWS[window]).items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax in _CODED else syntax
    if is_jpeg:
        dataset.PixelData = encapsulate([picture(number, "jpeg")])
        dataset["PixelData"].VR = "OB"
    else:
        dataset.PixelData = values.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
        dataset["PixelData"].VR = "OW"
    if syntax in _CODED:
        dataset.compress(syntax, generate_instance_uid=False)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@cache
def picture(number: int, form: str) -> bytes:
    """The film of 8 bits as PNG or JPEG."""
    buffer = BytesIO()
    Image.fromarray((film(number) >> 4).astype(np.uint8)).save(buffer, form)
    return buffer.getvalue()


def some_dicom(number: int, generator: Generator) -> tuple[bytes, UID]:
    """A film of any kind, and its syntax."""
    syntax = SYNTAXES[generator.integers(len(SYNTAXES))]
    window, inverted = int(generator.integers(len(_WINDOWS))), bool(generator.integers(2))
    return dicom(number, syntax, window, inverted=inverted), syntax


def wrong_length(data: bytes, generator: Generator) -> bytes:
    """Write another length into an element that is found by its VR or, without VRs, by its group."""
    marks = [b"US", b"DS", b"UI", b"CS", b"LO", b"PN", b"OW", b"OB", b"\x28\0", b"\x10\0", b"\xe0\x7f\x10\0"]
    places = [at for mark in marks for at in _places(data, mark)]
    if not places:
        return data
    at = places[generator.integers(len(places))] + 2 + 2 * int(generator.integers(2))
    lengths = (0, 1, 3, 0x7FFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFE, 0x80000000, int(generator.integers(1 << 16)))
    length = lengths[generator.integers(len(lengths))]
    return data[:at] + struct.pack("<L", length)[: 2 + 2 * int(generator.integers(2))] + data[at + 2 :]


def _places(data: bytes, mark: bytes) -> list[int]:
    found: list[int] = []
    at = data.find(mark, 132)
    while at >= 0 and len(found) < 40:
        found.append(at)
        at = data.find(mark, at + 1)
    return found


_VALUES: Mapping[str, tuple[Any, ...]] = {
    "Rows": (0, 1, 43, 45, 65535, None),
    "Columns": (0, 1, 39, 41, 80, 65535, None),
    "BitsAllocated": (0, 1, 7, 8, 12, 32, 64, 65535, None),
    "BitsStored": (0, 1, 8, 11, 13, 16, 17, 65535, None),
    "HighBit": (0, 10, 12, 15, 65535, None),
    "SamplesPerPixel": (0, 2, 3, 4, 65535, None),
    "PixelRepresentation": (1, 2, 65535, None),
    "PhotometricInterpretation": ("RGB", "YBR_FULL", "PALETTE COLOR", "MONOCHROME", "monochrome2", "", None),
    "NumberOfFrames": ("0", "-1", "2", "99999999", "1.5", ""),
    "PlanarConfiguration": (0, 1, 7),
    "RescaleSlope": ("0", "-1", "1e300", "1e-300", "nan", "inf", "1,5", "abc", ""),
    "RescaleIntercept": ("1e308", "-1e308", "nan", "x", ""),
    "WindowCenter": ("nan", "1e400", "-", "12x4", "0", "", ["5", "6", "7"], "1e9"),
    "WindowWidth": ("0", "-1", "nan", "1e-300", "1e300", "five", "1", ""),
    "VOILUTFunction": ("sigmoid", "LINEAR_EXACT", "CUBIC", "", "LINEAR\\SIGMOID"),
    "PixelPaddingValue": (0, 4095, 2000, 65535),
    "PixelPaddingRangeLimit": (0, 4095),
    "PresentationLUTShape": ("INVERSE", "IDENTITY", "ODD"),
    "PixelSpacing": (["0.1", "0.2"], ["-1", "0"], "x", ["1e999", "1"]),
    "ViewPosition": ("PA", "ZZZ", ""),
}
"""Values that a header may have by mistake; None takes the element out."""


def wrong_value(data: bytes, generator: Generator) -> bytes:
    """Set an element that pixels depend on to another value, right or wrong."""
    keywords = list(_VALUES)
    chosen = [keywords[place] for place in generator.integers(0, len(keywords), generator.integers(1, 3))]
    values = {name: _VALUES[name][generator.integers(len(_VALUES[name]))] for name in chosen}
    return with_values(data, values)


def with_values(data: bytes, values: Mapping[str, Any]) -> bytes:
    """The file with elements set as they are given, past every check of the writer; None takes one out."""
    dataset = dcmread(BytesIO(data))
    implicit, little = dataset.original_encoding
    for keyword, value in values.items():
        tag = Tag(keyword)
        if value is None:
            dataset.pop(tag, None)
            continue
        raw = struct.pack("<H" if little else ">H", value) if isinstance(value, int) else _padded(value)
        vr = "US" if isinstance(value, int) else dictionary_VR(tag)
        dataset[tag] = RawDataElement(tag, vr, len(raw), raw, 0, bool(implicit), bool(little), True)
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def _padded(value: str | list[str]) -> bytes:
    text = ("\\".join(value) if isinstance(value, list) else value).encode()
    return text + b" " * (len(text) % 2)


def wrong_syntax(data: bytes, generator: Generator) -> bytes:
    """Name another transfer syntax, or one that is none."""
    dataset = dcmread(BytesIO(data))
    before = str(dataset.file_meta.TransferSyntaxUID)
    names = [*SYNTAXES, "1.2.3", "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.203", "", "x" * 30]
    name = str(names[generator.integers(len(names))])[: len(before)]
    return data.replace(before.encode(), name.encode().ljust(len(before), b"\0"), 1)


def bomb(data: bytes, generator: Generator) -> bytes:
    """A few bytes that ask for all memory: deflated zeros, or a codestream of a size that nothing has."""
    kind = int(generator.integers(5))
    if kind == 0:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = b"".join(packer.compress(bytes(1 << 22)) for _ in range(int(generator.integers(20, 150))))
        whole = dicom(1, DeflatedExplicitVRLittleEndian, 0, inverted=False)
        start = 144 + int.from_bytes(whole[140:144], "little")
        return whole[:start] + packed + packer.flush()
    if kind == 1:
        whole = dicom(1, JPEG2000Lossless, 0, inverted=False)
        at = whole.index(b"\xff\x4f\xff\x51") + 8
        return whole[:at] + struct.pack(">4L", 60000, 60000, 0, 0) + whole[at + 16 :]
    if kind == 2:
        whole = dicom(1, JPEGLSLossless, 0, inverted=False)
        at = whole.index(b"\xff\xf7") + 5
        return whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :]
    if kind == 3:
        return _png_of(60000, 60000)
    size = {"Rows": 65535, "Columns": 65535}
    return with_values(data if data[128:132] == b"DICM" else dicom(1, SYNTAXES[1], 1, inverted=False), size)


def _png_of(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))

    header = struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(9999)))
        + chunk(b"IEND", b"")
    )


DEEP = "deep sequences"


def plain_dicom() -> bytes:
    """The one film that `deep` can be done to."""
    return dicom(1, ExplicitVRLittleEndian, 1, inverted=False)


def deep(data: bytes, generator: Generator) -> bytes:
    """Sequences within sequences within sequences, in a `plain_dicom`."""
    depth = int(generator.integers(5, 3000))
    head = b"\x40\0\x75\x02" + b"SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    tail = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    at = data.index(b"\xe0\x7f\x10\0")
    return data[:at] + head * depth + (tail * depth if generator.integers(2) else b"") + data[at:]


OF_FILMS: dict[str, Callable[[bytes, Generator], bytes]] = {
    **EVERYWHERE,
    "a wrong length": wrong_length,
    "a wrong value": wrong_value,
    "another syntax": wrong_syntax,
    "a bomb": bomb,
    DEEP: deep,
}
