"""Every way to store and show a film, bit by bit against a reading that goes pixel by pixel, without tables.

The stored film is uint8: the displayed value in [0, 1] is rounded to float32, taken 255 times in float32 and
rounded half to even. That is done here too, and then not one pixel may differ.
"""

import itertools
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pytest
from dicom_files import lut
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from mmil_cli.data.images import read_film, resize_film

ODD, EVEN = (33, 35), (34, 36)
FLOAT32 = np.float32


@dataclass(frozen=True)
class Storage:
    """Bits of a value: allocated, stored, the highest; and whether it is signed."""

    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def lowest(self) -> int:
        return -(1 << (self.stored - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        return self.lowest + (1 << self.stored) - 1


STORAGES = [
    Storage(allocated, stored, high, signed)
    for allocated, stored, high in (
        (8, 8, 7),
        (16, 8, 7),
        (16, 10, 9),
        (16, 12, 11),
        (16, 16, 15),
        (16, 12, 15),
    )
    for signed in (False, True)
]
PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
SYNTAXES = (*PLAIN, RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1)
MODALITIES = ("none", "rescale", "falling", "table")
VOIS = ("none", "linear", "several", "exact", "sigmoid", "width 1", "width 0", "table")


def values_of(storage: Storage, shape: tuple[int, int]) -> np.ndarray:
    """int64 [H, W] of some sixty values, the ends of the range and their neighbours among them."""
    generator = np.random.default_rng(storage.stored)
    drawn = generator.normal(0.5, 0.2, 56).clip(0, 1)
    levels = storage.lowest + np.rint(drawn * (storage.highest - storage.lowest)).astype(np.int64)
    ends = [storage.lowest, storage.highest, storage.lowest + 1, storage.highest - 1]
    return generator.choice(np.concatenate([levels, ends]), shape)


def decimal(value: float) -> str:
    return f"{value:.9g}"[:16]


@dataclass(frozen=True)
class Display:
    """Elements of the header, and the same as functions of one value."""

    elements: dict[str, Any]
    modality: Callable[[int], float]
    voi: Callable[[float], float] | None


def display_of(storage: Storage, modality: str, voi: str) -> Display:
    elements: dict[str, Any] = {}
    first = storage.lowest // 2
    curve = [min(65535, int(100 + 40 * math.sqrt(step))) for step in range(700)]
    if modality == "none":
        to_modality = float
    elif modality == "table":
        elements["ModalityLUTSequence"] = lut(np.array(curve, np.uint16), first, 16)
        to_modality = lambda value: float(looked_up(curve, value - first))  # noqa: E731
    else:
        slope, intercept = (
            decimal(number) for number in {"rescale": (1.5, -300.25), "falling": (-2, 17)}[modality]
        )
        elements |= {"RescaleSlope": slope, "RescaleIntercept": intercept}
        to_modality = lambda value: value * float(slope) + float(intercept)  # noqa: E731
    ends = sorted(to_modality(value) for value in (storage.lowest, storage.highest))
    return Display(*voi_of(elements, to_modality, voi, *ends))


def looked_up(table: list[int], place: float) -> int:
    return table[min(max(round(place), 0), len(table) - 1)]


def voi_of(
    elements: dict[str, Any], modality: Callable[[int], float], voi: str, low: float, high: float
) -> tuple:
    if voi in ("none", "width 0"):
        elements |= {"WindowCenter": "40", "WindowWidth": "0"} if voi == "width 0" else {}
        return elements, modality, None
    if voi == "table":
        table, first = (
            [1000 - step for step in range(900)],
            max(-32768, min(32767, int(low + (high - low) / 4))),
        )
        elements["VOILUTSequence"] = lut(np.array(table, np.uint16), first, 10)
        return elements, modality, lambda value: looked_up(table, value - first) / 1023
    center, width = decimal(low + 0.55 * (high - low)), decimal(max(2.0, 0.4 * (high - low)))
    if voi == "width 1":
        width = "1"
    c, w = float(center), float(width)
    functions = {"exact": "LINEAR_EXACT", "sigmoid": "SIGMOID", "several": "LINEAR"}
    elements |= {"WindowCenter": center, "WindowWidth": width}
    if voi in functions:
        elements["VOILUTFunction"] = functions[voi]
    if voi == "several":
        elements |= {"WindowCenter": [center, "0"], "WindowWidth": [width, "7"]}
    shown = {"exact": exact, "sigmoid": sigmoid}.get(voi, linear)
    return elements, modality, lambda value: shown(value, c, w)


def linear(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.2.1, with y from 0 to 1."""
    if x <= c - 0.5 - (w - 1) / 2:
        return 0.0
    if x > c - 0.5 + (w - 1) / 2:
        return 1.0
    return (x - (c - 0.5)) / (w - 1) + 0.5


def exact(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.3.2."""
    return 0.0 if x <= c - w / 2 else 1.0 if x > c + w / 2 else (x - c) / w + 0.5


def sigmoid(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.3.1."""
    return 1 / (1 + math.exp(-4 * (x - c) / w))


def without_window(
    values: list[float], storage: Storage, modality: Callable[[int], float]
) -> tuple[float, float]:
    """The range shown: all that 8 bits can hold; else all but 0.5 % of the pixels at each end."""
    if storage.stored <= 8:
        possible = [modality(value) for value in range(storage.lowest, storage.highest + 1)]
        return min(possible), max(possible)
    ordered = sorted(values)
    cut = int(len(ordered) * 0.005)
    return ordered[cut], ordered[-1 - cut]


def slow_film(values: np.ndarray, storage: Storage, display: Display, *, inverted: bool) -> np.ndarray:
    moved = [display.modality(int(value)) for value in values.ravel()]
    shown = display.voi
    if shown is None:
        low, high = without_window(moved, storage, display.modality)
        shown = lambda value: min(max((value - low) / (high - low), 0.0), 1.0)  # noqa: E731
    grey = {value: 1.0 - shown(value) if inverted else shown(value) for value in set(moved)}
    film = [int(np.rint(FLOAT32(grey[value]) * FLOAT32(255))) for value in moved]
    return np.array(film).reshape(values.shape)


def stored_file(path: Path, values: np.ndarray, storage: Storage, syntax: UID) -> Path:
    """The values in a DICOM file of a syntax, with nothing that says how to show them."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.1"), UID("1.2.3")
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (
        storage.allocated,
        storage.stored,
        storage.high,
    )
    dataset.PixelRepresentation = int(storage.signed)
    shift = storage.high + 1 - storage.stored
    words = values << shift if shift else values
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data = words.astype(f"{order}{'i' if storage.signed else 'u'}{storage.allocated // 8}").tobytes()
    data += bytes(len(data) % 2)
    if storage.allocated == 8 and order == ">":
        data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
    dataset.PixelData = data
    dataset["PixelData"].VR = "OB" if storage.allocated == 8 and order == "<" else "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax if syntax in PLAIN else ExplicitVRLittleEndian
    if syntax in (JPEGLSLossless, JPEG2000Lossless):
        dataset.compress(syntax, generate_instance_uid=False)
    if syntax == RLELossless:
        dataset.PixelData = encapsulate([run_lengths(data[: values.size * storage.allocated // 8], storage)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    if syntax == JPEGLosslessSV1:
        transcode(path)
    return path


def run_lengths(data: bytes, storage: Storage) -> bytes:
    """RLE of PS3.5 G without any run: a segment a byte of the word, the highest first, in pieces of 128."""
    width = storage.allocated // 8
    segments = []
    for byte in reversed(range(width)):
        plane = data[byte::width]
        pieces = [plane[start : start + 128] for start in range(0, len(plane), 128)]
        coded = b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)
        segments.append(coded + bytes(len(coded) % 2))
    starts = [64, *(64 + len(segments[0]),)[: width - 1]]
    return struct.pack("<16L", width, *starts, *[0] * (15 - width)) + b"".join(segments)


def transcode(path: Path) -> None:
    """To lossless JPEG, which pydicom cannot write."""
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def possible(storage: Storage, syntax: UID) -> bool:
    """Codecs know no value that lies above the lowest bit; that is a matter of words."""
    return storage.high + 1 == storage.stored or syntax in (*PLAIN, RLELossless)


COMBINATIONS = list(itertools.product(STORAGES, MODALITIES, VOIS, ("MONOCHROME1", "MONOCHROME2")))
STRIDE = 5
"""Each syntax takes every fifth combination, from another start: eight syntaxes go round all of them."""


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_combinations_bit_by_bit(tmp_path: Path, syntax: UID) -> None:
    chosen = [(storage, *rest) for storage, *rest in COMBINATIONS[SYNTAXES.index(syntax) % STRIDE :: STRIDE]
              if possible(storage, syntax)]  # fmt: skip
    assert len(chosen) >= 120
    for storage, group in itertools.groupby(chosen, key=lambda combination: combination[0]):
        values = values_of(storage, EVEN if syntax == JPEGLosslessSV1 else ODD)
        dataset = dcmread(stored_file(tmp_path / "stored.dcm", values, storage, syntax))
        assert dataset.file_meta.TransferSyntaxUID == syntax
        for _, modality, voi, photometric in group:
            display = display_of(storage, modality, voi)
            write_shown(tmp_path / "film.dcm", dataset, photometric, display)
            film = resize_film(read_film(tmp_path / "film.dcm"), side=64).pixels
            expected = slow_film(values, storage, display, inverted=photometric == "MONOCHROME1")
            np.testing.assert_array_equal(film, expected, err_msg=f"{storage} {modality} {voi} {photometric}")


def write_shown(path: Path, dataset: Dataset, photometric: str, display: Display) -> None:
    shown = Dataset()
    shown.update(dataset)
    shown.file_meta = dataset.file_meta
    shown.PhotometricInterpretation = photometric
    for keyword, value in display.elements.items():
        setattr(shown, keyword, value)
    shown.save_as(path, enforce_file_format=True)
