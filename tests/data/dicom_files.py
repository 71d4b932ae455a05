"""Writing DICOM files of every kind for tests, and what they should look like when displayed."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from mmil_cli.data.decoding import decode_frame
from mmil_cli.data.dicom import read_dicom, read_header
from mmil_cli.data.images import read_film
from mmil_cli.data.rendering import stored_values
from mmil_cli.errors import RejectedRecord

SHAPE = (41, 36)
SYNTAXES = [
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
    RLELossless, JPEGLSLossless, JPEG2000Lossless,
]  # fmt: skip
COMPRESSED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)
SECRET = "SECRETNAME^PATIENT"
FLOAT32 = {"rtol": 0, "atol": 2e-7}


def some_values(bits: int, signed: bool) -> np.ndarray:
    """Smooth with noise, and both ends of the range."""
    lowest = -(1 << (bits - 1)) if signed else 0
    ramp = np.linspace(0.1, 0.9, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    noise = np.random.default_rng(bits).normal(0, 0.05, SHAPE)
    values = lowest + np.rint(np.clip(ramp + noise, 0, 1) * ((1 << bits) - 1)).astype(np.int64)
    values[0, :2] = lowest, lowest + (1 << bits) - 1
    return values


def header_of(values: np.ndarray, bits: int, signed: bool, **elements: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.1"), UID("1.2.3")
    dataset.PatientName, dataset.PatientID, dataset.InstitutionName = SECRET, SECRET, SECRET
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = 8 if bits <= 8 else 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def write(
    path: Path,
    values: np.ndarray,
    *,
    bits: int = 12,
    signed: bool = False,
    syntax: UID = ExplicitVRLittleEndian,
    garbage: int = 0,
    **elements: Any,
) -> Path:
    """A DICOM file of integer values; `garbage` is put into the unused bits."""
    dataset = header_of(values, bits, signed, **elements)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    words = (values & ((1 << bits) - 1)) if garbage else values
    stored = (words | garbage).astype(
        f"{order}{'i' if signed and not garbage else 'u'}{dataset.BitsAllocated // 8}"
    )
    dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 and order == "<" else "OW"
    if order == ">" and dataset.BitsAllocated == 8:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    return finish(path, dataset, syntax)


def finish(path: Path, dataset: Dataset, syntax: UID) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax in COMPRESSED else syntax
    if syntax in COMPRESSED:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    return path


def lut(entries: np.ndarray, first: int, bits: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [entries.size % 65536, first, bits])
    if entries.nbytes < 65535:
        item.add_new("LUTData", "US", entries.tolist())
    else:
        item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return Sequence([item])


WINDOWS: dict[str, Callable[[float, float], dict[str, Any]]] = {
    "none": lambda low, high: {},
    "linear": lambda low, high: {"WindowCenter": (low + high) / 2 + 3, "WindowWidth": (high - low) * 0.6},
    "several": lambda low, high: {
        "WindowCenter": [(low + high) / 2, 0],
        "WindowWidth": [(high - low) * 0.5, 1],
        "VOILUTFunction": "LINEAR",
    },
    "exact": lambda low, high: {
        "WindowCenter": (low + high) / 2,
        "WindowWidth": (high - low) * 0.7,
        "VOILUTFunction": "LINEAR_EXACT",
    },
    "sigmoid": lambda low, high: {
        "WindowCenter": (low + high) / 2,
        "WindowWidth": (high - low) * 0.4,
        "VOILUTFunction": "SIGMOID",
    },
}


def number(value: float) -> str:
    """A decimal string as a writer would put it."""
    return f"{value:.8g}"[:16]


def expected_film(stored: np.ndarray, bits: int, signed: bool, elements: dict[str, Any]) -> np.ndarray:
    """Written from the standard's text, one pixel formula after the other, without tables."""
    slope, intercept = float(elements.get("RescaleSlope", 1)), float(elements.get("RescaleIntercept", 0))
    values = stored.astype(np.float64) * slope + intercept
    first = lambda value: float(value[0] if isinstance(value, list) else value)  # noqa: E731
    if "WindowCenter" not in elements:
        if bits <= 8:
            ends = np.array([-128, 127] if signed else [0, 255]) * slope + intercept
            low, high = ends.min(), ends.max()
        else:
            ordered = np.sort(values.ravel())
            cut = int(ordered.size * 0.005)
            low, high = ordered[cut], ordered[-1 - cut]
        shown = np.clip((values - low) / (high - low), 0, 1)
    else:
        center, width = first(elements["WindowCenter"]), first(elements["WindowWidth"])
        function = elements.get("VOILUTFunction", "LINEAR")
        if function == "SIGMOID":
            shown = 1 / (1 + np.exp(-4 * (values - center) / width))
        elif function == "LINEAR_EXACT":
            shown = np.select(
                [values <= center - width / 2, values > center + width / 2],
                [0, 1],
                (values - center) / width + 0.5,
            )
        else:
            shown = np.select(
                [values <= center - 0.5 - (width - 1) / 2, values > center - 0.5 + (width - 1) / 2],
                [0, 1],
                (values - (center - 0.5)) / (width - 1) + 0.5,
            )
    return 1 - shown if elements["PhotometricInterpretation"] == "MONOCHROME1" else shown


def elements_of(
    photometric: str, window: str, rescale: tuple[float, float] | None, bits: int, signed: bool
) -> dict:
    slope, intercept = rescale or (1.0, 0.0)
    lowest = -(1 << (bits - 1)) if signed else 0
    ends = lowest * slope + intercept, (lowest + (1 << bits) - 1) * slope + intercept
    chosen = WINDOWS[window](min(ends), max(ends))
    elements: dict[str, Any] = {"PhotometricInterpretation": photometric}
    if rescale:
        elements |= {"RescaleSlope": slope, "RescaleIntercept": intercept}
    for keyword, value in chosen.items():
        several = [number(one) for one in value] if isinstance(value, list) else value
        elements[keyword] = several if isinstance(several, list | str) else number(several)
    return elements


def jpeg(path: Path, picture: np.ndarray, **elements: Any) -> Path:
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=95)
    dataset = header_of(picture, 8, False, **elements)
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset["PixelData"].VR = "OB"
    return finish(path, dataset, JPEGBaseline8Bit)


def edited_frame(path: Path, edit: Callable[[bytes], bytes]) -> Path:
    """Change the codestream of a file."""
    dataset = dcmread(path)
    dataset.PixelData = encapsulate([edit(get_frame(dataset.PixelData, 0, number_of_frames=1))])
    dataset.save_as(path)
    return path


def rejection(path: Path) -> RejectedRecord:
    with pytest.raises(RejectedRecord) as caught:
        read_film(path)
    text = str(caught.value)
    assert text.startswith(f"{path.name} ")
    assert len(text) < 200
    assert "\n" not in text
    assert SECRET not in text
    return caught.value


def assert_as_pydicom(path: Path) -> None:
    dataset = dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(np.float64)
    low, high = output_range(dataset, shown)
    expected = (shown - low) / (high - low)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        expected = 1 - expected
    np.testing.assert_allclose(read_dicom(path).pixels, expected, rtol=0, atol=1e-6)


def output_range(dataset: Dataset, shown: np.ndarray) -> tuple[float, float]:
    """pydicom leaves windowed values in the range of the input, and looked-up ones in that of the table."""
    if "VOILUTSequence" in dataset:
        return 0.0, 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    bits, signed = dataset.BitsStored, dataset.PixelRepresentation
    if "ModalityLUTSequence" in dataset:
        bits, signed = dataset.ModalityLUTSequence[0].LUTDescriptor[2], 0
    ends = np.array([-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1] if signed else [0, 2.0**bits - 1])
    if "RescaleSlope" in dataset:
        ends = ends * dataset.RescaleSlope + dataset.RescaleIntercept
    return float(ends[0]), float(ends[1])


def read_stored(path: Path) -> np.ndarray:
    header = read_header(path)
    return stored_values(decode_frame(header, path), header)


def assert_film_or_reason(path: Path) -> str:
    """The reason, or "film"."""
    try:
        film = read_film(path)
    except RejectedRecord:
        return rejection(path).reason
    assert film.pixels.dtype == np.float32
    assert 0 <= film.pixels.min() < film.pixels.max() <= 1
    return "film"
