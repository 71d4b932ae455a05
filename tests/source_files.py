"""Tiny sources of films and reports for tests: a table, and a MIMIC-CXR-like tree."""

import csv
import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

REPORT = """                                 FINAL REPORT
 INDICATION:  Cough.

 FINDINGS:  There is a small left pleural effusion.  The heart measures
 12.5 cm.

 IMPRESSION:  Small effusion of film {number}.
"""


def film(number: int, height: int = 48, width: int = 40) -> np.ndarray:
    """Unlike any other number's film: uint8 [height, width]."""
    rng = np.random.default_rng(number)
    ramp = np.linspace(0, 200, width)[None, :] + rng.integers(0, 50, (height, width))
    return ramp.astype(np.uint8)


def write_png(path: Path, number: int, **size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(film(number, **size)).save(path)
    return path


def write_dicom(path: Path, number: int, **elements: object) -> Path:
    """The film as 8-bit MONOCHROME2 with a window that leaves its values as they are."""
    pixels = film(number)
    header = Dataset()
    header.SOPClassUID = ComputedRadiographyImageStorage
    header.SOPInstanceUID = generate_uid()
    header.PatientName, header.PatientID = "Doe^Jane", "secret"
    header.Rows, header.Columns = pixels.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8
    header.HighBit, header.PixelRepresentation = 7, 0
    header.WindowCenter, header.WindowWidth = "127.5", "256"
    header.ViewPosition = "PA"
    header.PixelData = pixels.tobytes()
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def write_csv(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    opening = gzip.open if path.suffix == ".gz" else open
    with opening(path, "wt", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def table_rows(number: int) -> list[dict[str, object]]:
    """Two films a patient, with labels and without splits."""
    return [
        {
            "image": f"films/{row:03d}.png",
            "report": f"FINDINGS: Film {row} shows a nodule. No effusion.",
            "image_id": f"i{row}",
            "study_id": f"s{row}",
            "patient_id": f"p{row // 2}",
            "view": "PA",
            "Nodule": 1,
            "Edema": ("", 0, -1)[row % 3],
        }
        for row in range(number)
    ]


def write_table(folder: Path, rows: Iterable[Mapping[str, object]], name: str = "films.csv") -> Path:
    """A CSV with a PNG for each of its rows."""
    rows = list(rows)
    for number, row in enumerate(rows):
        if row.get("image"):
            write_png(folder / str(row["image"]), number)
    return write_csv(folder / name, rows)


SPLITS = {"10000032": "train", "10000764": "validate", "11000183": "test"}


def write_mimic(root: Path, *, tables: bool = True, suffix: str = ".csv.gz") -> Path:
    """Three patients, four studies, six films (DICOM and JPG), with the CSVs in the root."""
    studies = [("10000032", "50414267", 2), ("10000032", "53189527", 1), ("10000764", "57375967", 2)]
    studies.append(("11000183", "51967845", 1))
    images, number = [], 0
    for patient, study, count in studies:
        folder = root / "files" / f"p{patient[:2]}" / f"p{patient}"
        for _ in range(count):
            name = f"{number:08x}-film"
            write_dicom(folder / f"s{study}" / f"{name}.dcm", number)
            images.append((name, study, patient))
            number += 1
        (folder / f"s{study}.txt").write_text(REPORT.format(number=study))
    if tables:
        write_mimic_tables(root, images, suffix)
    return root


def write_mimic_tables(folder: Path, images: Iterable[tuple[str, str, str]], suffix: str = ".csv.gz") -> None:
    """The split, metadata and label tables of MIMIC-CXR-JPG for (image, study, patient)."""
    ids = [{"dicom_id": image, "study_id": study, "subject_id": patient} for image, study, patient in images]
    write_csv(
        folder / f"mimic-cxr-2.0.0-split{suffix}",
        [{**row, "split": SPLITS[row["subject_id"]]} for row in ids],
    )
    views = [{**row, "ViewPosition": "LATERAL" if n % 2 else "AP", "Rows": 48} for n, row in enumerate(ids)]
    write_csv(folder / f"mimic-cxr-2.0.0-metadata{suffix}", views)
    studies = {row["study_id"]: row["subject_id"] for row in ids}
    labels = [
        {
            "subject_id": patient,
            "study_id": study,
            "Edema": "",
            "No Finding": "1.0",
            "Pleural Effusion": "-1.0",
        }
        for study, patient in studies.items()
    ]
    write_csv(folder / f"mimic-cxr-2.0.0-chexpert{suffix}", labels)
