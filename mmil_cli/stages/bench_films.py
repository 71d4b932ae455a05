"""Large generated DICOM films, and the plain recipe that most projects turn one into a PNG with."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid


def write_film(path: Path, *, height: int, width: int, syntax: UID) -> Path:
    """A smooth 12-bit film with a detector's noise and a window, as DICOM; always the same pixels."""
    row, column = np.mgrid[0:height, 0:width]
    smooth = 1500 + 900 * np.sin(6 * column / width) * np.cos(6 * row / height)
    values = smooth + np.random.default_rng(0).normal(0, 20, (height, width))
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    header.Rows, header.Columns = height, width
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
    header.WindowCenter, header.WindowWidth = "2000", "3000"
    header.RescaleIntercept, header.RescaleSlope = "0", "1"
    header.PixelData = np.clip(np.rint(values), 0, 4095).astype("<u2").tobytes()
    header["PixelData"].VR = "OW"
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax.is_encapsulated:
        header.compress(syntax, generate_instance_uid=False)
    header.save_as(path, enforce_file_format=True)
    return path


def usual_recipe(path: Path, *, side: int) -> bytes:
    """pydicom's pixels through its modality and VOI functions to 8 bits, resized and saved by Pillow."""
    header = dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(header.pixel_array, header), header)
    low, high = shown.min(), shown.max()
    film = Image.fromarray(((shown - low) / (high - low) * 255).astype(np.uint8))
    share = side / max(film.size)
    buffer = BytesIO()
    film.resize((round(film.width * share), round(film.height * share))).save(buffer, "png")
    return buffer.getvalue()
