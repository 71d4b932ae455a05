"""One film in every encoding shows the same picture to a display written from the standard alone."""

from io import BytesIO

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from mmil_cli.phantom.dicom import Encoding, Header, dicom_bytes, sample_encoding

HEADER = Header("a-b", "k", 10000032, 50414267, "PA", "21500101", "101112.000", "F", 61, 0.7, "CHEST (PA)", 1)
ENCODINGS = [
    Encoding(syntax, bits, signed, inverted, voi)
    for syntax, bits, signed in (
        (ExplicitVRLittleEndian, 8, False),
        (ExplicitVRLittleEndian, 16, True),
        (ImplicitVRLittleEndian, 12, False),
        (ImplicitVRLittleEndian, 14, True),
        (ExplicitVRBigEndian, 12, True),
        (DeflatedExplicitVRLittleEndian, 10, False),
        (RLELossless, 16, False),
        (RLELossless, 8, False),
        (JPEG2000Lossless, 12, False),
        (JPEG2000Lossless, 14, True),
        (JPEGLSLossless, 16, False),
        (JPEGLSLossless, 12, True),
    )
    for inverted in (False, True)
    for voi in ("linear", "windows", "sigmoid", "lut", "none")
]


def picture() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0.01, 0.99, 48, dtype=np.float32)
    return np.clip(ramp[None, :] * np.ones((40, 1), np.float32) + rng.normal(0, 0.02, (40, 48)), 0, 1).astype(
        np.float32
    )


def display(file: bytes) -> NDArray[np.float64]:
    """Decode, rescale, VOI, invert: PS3.3 C.11.1 and C.11.2, one pixel formula at a time."""
    dataset = pydicom.dcmread(BytesIO(file))
    values = dataset.pixel_array.astype(float) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    if "VOILUTSequence" in dataset:
        item = dataset.VOILUTSequence[0]
        data = item.LUTData  # numbers, or words where the syntax names no VR
        table = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data)
        shown = table[np.clip(values - item.LUTDescriptor[1], 0, len(table) - 1).astype(int)] / 65535
    elif "WindowCenter" in dataset:
        centre, width = first(dataset.WindowCenter), first(dataset.WindowWidth)
        if dataset.VOILUTFunction == "SIGMOID":
            shown = 1 / (1 + np.exp(-4 * (values - centre) / width))
        else:
            shown = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    else:
        shown = values / (2**dataset.BitsStored - 1)
    return 1 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown


def first(value: object) -> float:
    return float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)  # type: ignore[arg-type]


def name_of(encoding: Encoding) -> str:
    bits = f"{'signed' if encoding.signed else 'unsigned'}{encoding.bits}"
    return f"{encoding.syntax.name}-{bits}-MONOCHROME{1 if encoding.inverted else 2}-{encoding.voi}"


@pytest.mark.parametrize("encoding", ENCODINGS, ids=name_of)
def test_every_encoding_shows_the_same_film(encoding: Encoding) -> None:
    film = picture()
    data = dicom_bytes(film, header=HEADER, encoding=encoding)
    dataset = pydicom.dcmread(BytesIO(data))
    assert dataset.file_meta.TransferSyntaxUID == encoding.syntax
    assert dataset.BitsStored == encoding.bits
    assert dataset.PixelRepresentation == int(encoding.signed)
    worst = float(np.abs(display(data) - film).max())
    assert worst < (0.012 if encoding.bits == 8 else 0.006)


def test_same_film_same_bytes() -> None:
    encoding = Encoding(JPEGLSLossless, 12, False, True, "lut")
    assert dicom_bytes(picture(), header=HEADER, encoding=encoding) == dicom_bytes(
        picture(), header=HEADER, encoding=encoding
    )


def test_values_outside_the_window_are_kept() -> None:
    film = np.array([[-0.1, 0.0, 1.0, 1.1]], dtype=np.float32)
    stored = pydicom.dcmread(
        BytesIO(
            dicom_bytes(
                film, header=HEADER, encoding=Encoding(ExplicitVRLittleEndian, 12, False, False, "linear")
            )
        )
    ).pixel_array
    assert (np.diff(stored.astype(int)[0]) > 0).all()


def test_archives_vary() -> None:
    rng = np.random.default_rng(1)
    drawn = [sample_encoding(rng) for _ in range(300)]
    assert {UID(e.syntax) for e in drawn} == {e.syntax for e in ENCODINGS}
    assert {e.bits for e in drawn} == {8, 10, 12, 14, 16}
    assert {e.voi for e in drawn} == {"linear", "windows", "sigmoid", "lut", "none"}
    assert {e.inverted for e in drawn} == {e.signed for e in drawn} == {True, False}
