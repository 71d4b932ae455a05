"""What of a DICOM header tells which films and reports belong together; nothing of it is told."""

from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID

from mmil_cli.data.checks import read_head
from mmil_cli.data.dicom import faults_are_reasons, looks_like_dicom
from mmil_cli.data.elements import read_elements
from mmil_cli.data.inflate import refuse_inflated
from mmil_cli.data.reasons import Reason, rejected
from mmil_cli.data.structured_reports import MODALITY, structured_text
from mmil_cli.errors import RejectedRecord

_TAGS = [
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "AccessionNumber",
    "PatientID", "IssuerOfPatientID", "StudyDate", "StudyTime", "Modality", "Rows", "Columns",
    "ConceptNameCodeSequence", "ContentSequence",
]  # fmt: skip
_DIGEST_BYTES = 8
DATE_LENGTH = 8
"""The characters of `DicomObject.began` that are its date."""


@dataclass(frozen=True, slots=True)
class DicomObject:
    """One readable DICOM file.

    Attributes:
        instance, study, accession, patient: as the header has them, "" where it has none; never shown.
        began: date and time of the study, for its order among those of the patient.
        is_image: it has rows and columns of pixels.
        report: the text of a structured report, None for other objects.
    """

    path: Path
    instance: str = field(repr=False)
    study: str = field(repr=False)
    accession: str = field(repr=False)
    patient: str = field(repr=False)
    began: str = field(repr=False)
    is_image: bool
    report: str | None = field(repr=False)


def is_dicom(path: Path) -> bool:
    """Whether the first bytes are those of a DICOM file; not for the index of a medium (DICOMDIR)."""
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        return looks_like_dicom(read_head(path))
    except RejectedRecord:
        return False


def read_object(path: Path) -> DicomObject:
    """Read the identity of a DICOM file, and the text if it is a structured report; no pixels.

    Raises:
        RejectedRecord: the header cannot be read, or breaks off; the message has nothing out of it.
    """
    with faults_are_reasons(path), path.open("rb") as file:
        refuse_inflated(file, path)
        header = read_elements(file, _TAGS, with_pixels=False)
        _refuse_headless(header, path)
        is_report = header.get("Modality") == MODALITY
        return DicomObject(
            path=path,
            instance=_text(header, "SOPInstanceUID"),
            study=_text(header, "StudyInstanceUID"),
            accession=_text(header, "AccessionNumber"),
            patient="\n".join(filter(None, (_text(header, "PatientID"), _text(header, "IssuerOfPatientID")))),
            began=_text(header, "StudyDate").replace(".", "").ljust(DATE_LENGTH) + _text(header, "StudyTime"),
            is_image=bool(header.get("Rows") and header.get("Columns")),
            report=structured_text(header) if is_report else None,
        )


def _refuse_headless(header: Dataset, path: Path) -> None:
    """An object without rows of pixels must be of a kind that has none; else its header is damaged."""
    kind = UID(_text(header, "SOPClassUID") or str(header.file_meta.get("MediaStorageSOPClassUID", "")))
    if not header.get("Rows") and (not kind or "Image Storage" in kind.name):
        raise rejected(Reason.UNREADABLE, path, "is a damaged DICOM file: its header breaks off")


def opaque_id(text: str) -> str:
    """A name for something whose own name must not be told: 16 hexadecimal digits of its BLAKE2b hash.

    It hides only what cannot be guessed, such as a UID; a patient's number can be tried out one by one.
    """
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()
