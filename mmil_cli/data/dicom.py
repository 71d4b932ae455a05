"""Reading a radiograph from a DICOM file, as it is meant to be displayed.

Of the header only the elements that say how pixels are stored and shown are kept, and none of patient or
institution, so that no message can carry them.

What is not a single still picture is refused: objects without pixel data (reports, presentation states, a
PDF), multi-frame objects, because no frame of a cine or tomosynthesis series is *the* film, localisers of CT
and MR, and grids that are no pictures (segmentations, doses, parametric maps). Captures in colour become
their luma.

Rows and columns stay as they are stored, as in MIMIC-CXR-JPG: Patient Orientation is told beside the film and
never acted upon, because it is often wrong while films are stored upright. Laterality is not read: it is of
paired parts of the body. Overlays are not drawn, presentation states not applied.
"""

import logging
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ParametricMapStorage,
    RTDoseStorage,
    SegmentationStorage,
    SurfaceSegmentationStorage,
)

from mmil_cli.data.checks import refuse_blank, refuse_large
from mmil_cli.data.decoding import PIXEL_KEYWORDS, decode_frame
from mmil_cli.data.elements import is_cut_off, read_elements
from mmil_cli.data.film import Film, view_of_header
from mmil_cli.data.inflate import refuse_inflated
from mmil_cli.data.reasons import Reason, rejected
from mmil_cli.data.rendering import render

_REQUIRED = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel", "PhotometricInterpretation",
)  # fmt: skip
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_TAGS = [
    "SOPClassUID", "Modality", "ImageType", "PatientOrientation", "BurnedInAnnotation",
    "ViewPosition", "ViewCodeSequence", "PixelSpacing", "ImagerPixelSpacing",
    *_REQUIRED, "HighBit", "PixelRepresentation", "PlanarConfiguration", "NumberOfFrames",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept",
    "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape", *_GROUPS,
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", *PIXEL_KEYWORDS,
    *(f"{kind}{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue")
      for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))),
]  # fmt: skip
_NO_PICTURES = frozenset(
    {SegmentationStorage, SurfaceSegmentationStorage, ParametricMapStorage, RTDoseStorage}
)
_NO_PICTURES_MODALITIES = frozenset({"SEG", "RTDOSE"})
_DIRECTIONS = re.compile(r"[AFHLPR]{1,3}")
_FAULTS = (
    BytesLengthException, InvalidDicomError, AttributeError, AssertionError, EOFError, LookupError,
    MemoryError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError, ArithmeticError,
    struct.error, zlib.error,
)  # fmt: skip
"""What pydicom and the decoders raise on damaged files; they have no common exception of their own."""


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes begin a DICOM file, or a bare dataset without preamble."""
    bare = head[:1] in (b"\x02", b"\x08") and head[1:2] == head[3:4] == b"\0"
    bare_big_endian = head[:2] == b"\0\x08" and head[2:3] == b"\0"
    return head[128:132] == b"DICM" or bare or bare_big_endian


def read_dicom(path: Path) -> Film:
    """Decode and display one film: modality transform, values of interest, inversion; see `voi`.

    Raises:
        RejectedRecord: the file gives no film; its reason is a `Reason`.
    """
    with faults_are_reasons(path):
        header = read_header(path)
        codes = decode_frame(header, path)
        pixels = render(codes, header)
        refuse_blank(pixels, path)
        burned_in = str(header.get("BurnedInAnnotation") or "").strip().upper() == "YES"
        return Film(pixels, _spacing(header), _view(header), _orientation(header), burned_in)


def read_header(path: Path) -> Dataset:
    """The elements of the pixel path, checked to describe one still picture.

    Raises:
        RejectedRecord: there is none, or an element that pixels cannot be read without is missing.
    """
    with warnings.catch_warnings(record=True) as spoken, path.open("rb") as file:
        warnings.simplefilter("always")
        refuse_inflated(file, path)
        header = read_elements(file, _TAGS, with_pixels=True)
    if is_cut_off(header) or any("End of file reached" in str(warning.message) for warning in spoken):
        raise rejected(Reason.TRUNCATED, path, "is cut off before the end of its pixel data")
    _guess_syntax(header)
    _check_header(header, path)
    _lift_functional_groups(header)
    return header


def _check_header(header: Dataset, path: Path) -> None:
    if not any(header.get(keyword) for keyword in PIXEL_KEYWORDS):
        raise rejected(
            Reason.NO_PIXELS, path, "is a DICOM object without pixel data, or is cut off before it"
        )
    _refuse_other_objects(header, path)
    missing = [keyword for keyword in _REQUIRED if not header.get(keyword)]
    if missing:
        raise rejected(Reason.UNREADABLE, path, f"lacks {', '.join(missing)} in its header")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise rejected(Reason.MULTI_FRAME, path, f"holds {frames} frames; a film has one")
    refuse_large(path, width=int(header.Columns), height=int(header.Rows))


def _refuse_other_objects(header: Dataset, path: Path) -> None:
    if header.get("SOPClassUID") in _NO_PICTURES or header.get("Modality") in _NO_PICTURES_MODALITIES:
        raise rejected(Reason.NOT_A_PICTURE, path, "holds a segmentation, doses or a map and no picture")
    if "LOCALIZER" in [str(value).strip().upper() for value in _several(header, "ImageType")]:
        raise rejected(Reason.LOCALISER, path, "is the localiser of a CT or MR study")


def _several(header: Dataset, keyword: str) -> Sequence[object]:
    """The values of an element that may have any number of them."""
    value = header.get(keyword)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else [value] if value else []


def _guess_syntax(header: Dataset) -> None:
    """Files without meta information are uncompressed; pydicom told their encoding by the first element."""
    if "TransferSyntaxUID" in header.file_meta:
        return
    implicit, little = header.original_encoding
    explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _lift_functional_groups(header: Dataset) -> None:
    """Enhanced objects keep rescale, window and spacing in sequences: put them where others have them."""
    for items in filter(None, (header.get(group) for group in _GROUPS)):
        for macro in items[0]:
            if macro.VR == "SQ" and macro.value:
                for element in macro.value[0]:
                    if element.keyword in _TAGS and element.keyword not in header:
                        header.add(element)


def _spacing(header: Dataset) -> tuple[float, float] | None:
    """(row, column) spacing in mm: calibrated to the patient if possible, else at the detector."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        try:
            row, column = (float(value) for value in header.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if 0 < row < math.inf and 0 < column < math.inf:
            return row, column
    return None


def _view(header: Dataset) -> str | None:
    """View Position, else the meaning of the view's code."""
    codes = header.get("ViewCodeSequence")
    meaning = codes[0].get("CodeMeaning") if codes else None
    return view_of_header(header.get("ViewPosition")) or view_of_header(meaning)


def _orientation(header: Dataset) -> str | None:
    """Patient Orientation (PS3.3 C.7.6.1.1.1) as it is written, where it is two directions."""
    directions = [str(value).strip() for value in _several(header, "PatientOrientation")]
    if len(directions) != 2 or not all(map(_DIRECTIONS.fullmatch, directions)):
        return None
    return "\\".join(directions)


@contextmanager
def faults_are_reasons(path: Path) -> Iterator[None]:
    """One sentence for whatever goes wrong below, and silence for the libraries' remarks and tracebacks.

    Their texts may quote the header, so none is passed on.
    """
    with warnings.catch_warnings(), _quiet("pydicom", "pylibjpeg", "openjpeg", "jpeg_ls"):
        warnings.simplefilter("ignore")
        try:
            yield
        except _FAULTS as fault:
            raise rejected(
                Reason.UNREADABLE, path, "is a damaged DICOM file: its pixels cannot be decoded"
            ) from fault


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Keep the records of these loggers from the application's handlers, and from stderr."""
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.propagate, logger.handlers) for logger in loggers]
    for logger in loggers:
        logger.propagate, logger.handlers = False, [logging.NullHandler()]
    try:
        yield
    finally:
        for logger, (propagate, handlers) in zip(loggers, before, strict=True):
            logger.propagate, logger.handlers = propagate, handlers
