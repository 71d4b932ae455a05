"""A film as a DICOM object: the same picture in any of the ways in which archives hold pictures.

What is stored is the inverse of what a viewer does: the film is sent backwards through MONOCHROME1 inversion,
the window or VOI LUT and the rescale, so that every correct pixel path shows (nearly) the same film.
"""

from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from mmil_cli.phantom.canvas import Field

PLUGINS = {RLELossless: "gdcm", JPEG2000Lossless: "pylibjpeg", JPEGLSLossless: "pyjpegls"}
SYNTAXES = (
    (ExplicitVRLittleEndian, 0.44),
    (ImplicitVRLittleEndian, 0.16),
    (JPEGLSLossless, 0.12),
    (JPEG2000Lossless, 0.08),
    (RLELossless, 0.10),
    (DeflatedExplicitVRLittleEndian, 0.05),
    (ExplicitVRBigEndian, 0.05),
)
VOIS = (("linear", 0.45), ("windows", 0.15), ("sigmoid", 0.12), ("lut", 0.14), ("none", 0.14))
LARGEST_LUT = 4096


@dataclass(frozen=True)
class Encoding:
    """How the picture is held.

    Attributes:
        bits: stored, 8 to 16.
        signed: two's complement values with a rescale intercept.
        inverted: MONOCHROME1.
        voi: `linear`, `windows` (two of them), `sigmoid`, `lut` or `none`.
    """

    syntax: UID
    bits: int
    signed: bool
    inverted: bool
    voi: str


@dataclass(frozen=True)
class Header:
    """What a DICOM object says besides its pixels."""

    dicom_id: str
    study_key: str
    subject_id: int
    study_id: int
    view: str
    date: str
    time: str
    sex: str
    age: int
    spacing_mm: float
    procedure: str
    number: int


def sample_encoding(rng: np.random.Generator) -> Encoding:
    """One of the ways in which archives hold films."""
    shares = np.array([share for _, share in SYNTAXES])
    syntax = SYNTAXES[int(rng.choice(len(SYNTAXES), p=shares / shares.sum()))][0]
    bits = int(rng.choice([8, 10, 12, 14, 16], p=[0.1, 0.12, 0.4, 0.16, 0.22]))
    weights = np.array([share for _, share in VOIS])
    return Encoding(
        syntax=syntax,
        bits=bits,
        signed=bool(bits >= 12 and rng.random() < 0.2),
        inverted=bool(rng.random() < 0.35),
        voi=VOIS[int(rng.choice(len(VOIS), p=weights / weights.sum()))][0],
    )


def dicom_bytes(film: Field, *, header: Header, encoding: Encoding) -> bytes:
    """A Part 10 file of a film: float, 0 black to 1 white; a window keeps values outside that."""
    dataset = _identity(header)
    stored, intercept = _store(film, dataset, encoding=encoding)
    _describe_pixels(dataset, stored, encoding=encoding, intercept=intercept)
    _set_pixels(dataset, stored, encoding=encoding)
    target = BytesIO()
    dcmwrite(target, dataset, enforce_file_format=True, little_endian=None, implicit_vr=None)
    return target.getvalue()


def uid_of(text: str) -> UID:
    """A UID under the root for UUIDs (2.25), from a text."""
    return UID(f"2.25.{int(sha256(text.encode()).hexdigest()[:30], 16)}")


def _identity(header: Header) -> Dataset:
    computed = header.view == "AP"
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["DERIVED", "PRIMARY"] if computed else ["ORIGINAL", "PRIMARY"]
    dataset.SOPClassUID = (
        ComputedRadiographyImageStorage if computed else DigitalXRayImageStorageForPresentation
    )
    dataset.SOPInstanceUID = uid_of(f"instance/{header.dicom_id}")
    dataset.StudyInstanceUID = uid_of(f"study/{header.study_key}")
    dataset.SeriesInstanceUID = uid_of(f"series/{header.dicom_id}")
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = header.date
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = header.time
    dataset.AccessionNumber = ""
    dataset.Modality = "CR" if computed else "DX"
    dataset.Manufacturer = "mmil phantom (generated)"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "GENERATED CHEST STUDY, NOT A PATIENT"
    dataset.PerformedProcedureStepDescription = header.procedure
    dataset.PatientName = f"GENERATED^PHANTOM {header.subject_id}"
    dataset.PatientID = str(header.subject_id)
    dataset.PatientBirthDate = ""
    dataset.PatientSex = header.sex
    dataset.PatientAge = f"{header.age:03d}Y"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "LL" if header.view == "LATERAL" else header.view
    dataset.PatientOrientation = ["A", "F"] if header.view == "LATERAL" else ["L", "F"]
    dataset.StudyID = str(header.study_id)
    dataset.SeriesNumber = dataset.InstanceNumber = header.number
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    spacing = [f"{header.spacing_mm:.5f}"] * 2
    dataset.ImagerPixelSpacing = spacing
    if computed:
        dataset.PixelSpacing = spacing
    return dataset


def _store(film: Field, dataset: Dataset, *, encoding: Encoding) -> tuple[NDArray[np.int64], int]:
    """Stored values of a film, and the rescale intercept; sets the window or VOI LUT."""
    full = 2**encoding.bits - 1
    intercept = -(2 ** (encoding.bits - 1)) if encoding.signed else 0
    shown = 1 - film if encoding.inverted else film
    levels = {"linear": _linear, "windows": _linear, "sigmoid": _sigmoid, "lut": _lut, "none": _plain}
    values = levels[encoding.voi](shown, dataset, full=full)
    if encoding.voi == "windows":
        dataset.WindowCenter = [dataset.WindowCenter, str(full // 3)]
        dataset.WindowWidth = [dataset.WindowWidth, str(full // 2)]
        dataset.WindowCenterWidthExplanation = ["NORMAL", "HARDER"]
    return np.clip(np.rint(values), 0, full).astype(np.int64) + intercept, -intercept


def _linear(shown: Field, dataset: Dataset, *, full: int) -> Field:
    """A window over the middle of the stored values (PS3.3 C.11.2.1.2.1)."""
    low, width = round(0.15 * full), round(0.7 * full)
    dataset.WindowCenter, dataset.WindowWidth = f"{low + width / 2:.1f}", str(width)
    dataset.VOILUTFunction = "LINEAR"
    return low + shown * (width - 1)


def _sigmoid(shown: Field, dataset: Dataset, *, full: int) -> Field:
    """A sigmoid window (PS3.3 C.11.2.1.3.1), entered backwards."""
    centre, width = round(0.5 * full), round(0.36 * full)
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = str(centre), str(width), "SIGMOID"
    shown = np.clip(shown, 0.0045, 0.9955)
    return centre + width / 4 * np.log(shown / (1 - shown))


def _lut(shown: Field, dataset: Dataset, *, full: int) -> Field:
    """A VOI LUT with a toe and a shoulder over the middle of the stored values, entered backwards."""
    entries = min(LARGEST_LUT, full + 1 - 2 * round(0.1 * full))
    first = (full + 1 - entries) // 2
    t = np.linspace(0, 1, entries)
    curve = 0.55 * t + 0.45 * t * t * (3 - 2 * t)
    item = Dataset()
    item.LUTDescriptor = [entries, first, 16]
    item.LUTExplanation = "PHANTOM"
    item.add_new("LUTData", "US", np.rint(curve * 65535).astype(np.uint16).tolist())
    dataset.VOILUTSequence = DicomSequence([item])
    return first + np.interp(np.clip(shown, 0, 1), curve, np.arange(entries)).astype(np.float32)


def _plain(shown: Field, dataset: Dataset, *, full: int) -> Field:  # noqa: ARG001
    """No window at all: the stored values span the film."""
    return np.clip(shown, 0, 1) * full


def _describe_pixels(
    dataset: Dataset, stored: NDArray[np.int64], *, encoding: Encoding, intercept: int
) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if encoding.inverted else "MONOCHROME2"
    dataset.PresentationLUTShape = "INVERSE" if encoding.inverted else "IDENTITY"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 8 if encoding.bits == 8 else 16
    dataset.BitsStored, dataset.HighBit = encoding.bits, encoding.bits - 1
    dataset.PixelRepresentation = int(encoding.signed)
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(intercept), "1", "US"


def _set_pixels(dataset: Dataset, stored: NDArray[np.int64], *, encoding: Encoding) -> None:
    kind = ("i" if encoding.signed else "u") + str(dataset.BitsAllocated // 8)
    big = encoding.syntax == ExplicitVRBigEndian
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = encoding.syntax
    dataset.PixelData = stored.astype((">" if big else "<") + kind).tobytes()
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated == 16 else "OB"
    if encoding.syntax in PLUGINS:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(
            encoding.syntax, encoding_plugin=PLUGINS[encoding.syntax], generate_instance_uid=False
        )
