"""What was found in a film as DICOM objects of its study: an overlay, a segmentation and a structured report.

They carry the patient and study of the source object, whose pixels they refer to, each in its own series.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from mmil_cli.errors import DataError, UsageError, shortened
from mmil_cli.files import write_atomic
from mmil_cli.runtime import versions
from mmil_cli.stages.ground_film import PhraseFinding
from mmil_cli.stages.similarity import stands_out

NOTICE = "Not for clinical use"
GENERATED_NOTICE = "trained on generated data"
MAKER, DEVICE = "mmil", "mmil ground"
SERIES = {"overlay": 9001, "segments": 9002, "report": 9003}
"""Objects, and the numbers of their series; files are called FILM_OBJECT.dcm."""

NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""What every object must have, and may have without a value where the source does not."""

LABEL_LETTERS = 64
"""Of a DICOM long string."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomOut:
    """Where objects are to be written, checked before the work.

    Attributes:
        source: the header of the film that was looked at.
        paths: of the objects.
    """

    source: Dataset
    paths: dict[str, Path]


def plan_dicom(image: Path, out: Path) -> DicomOut:
    """Reads the source and says where objects will be written.

    Raises:
        UsageError: highdicom is not installed, the film is no DICOM file, or one would be written over it.
        DataError: the source lacks the ids that an object must refer to.
    """
    _highdicom()
    try:
        source = dcmread(image, stop_before_pixels=True)
    except InvalidDicomError as error:
        raise UsageError(
            f"--dicom refers to the DICOM object of a film, and {image.name} is none; leave it out"
        ) from error
    source.decode()
    absent = [name for name in NEEDED if not source.get(name)]
    if absent:
        raise DataError(
            f"{image.name} lacks {', '.join(absent)}, and nothing can refer to it; leave out --dicom"
        )
    for name in MAY_BE_EMPTY:
        if name not in source:
            setattr(source, name, "")
    paths = {name: out / f"{image.stem}_{name}.dcm" for name in SERIES}
    if image.resolve() in {path.resolve() for path in paths.values()}:
        raise UsageError(f"--out {out} would write over {image.name}; choose another folder")
    return DicomOut(source=source, paths=paths)


def write_dicom(
    plan: DicomOut,
    findings: Sequence[PhraseFinding],
    picture: bytes,
    *,
    threshold: float,
    is_generated: bool,
) -> tuple[Path, ...]:
    """Writes the three objects.

    - overlay: the picture as a secondary capture.
    - segments: a binary segmentation of the film's own pixels, a segment a phrase, where its map stands out.
    - report: a measurement report (TID 1500) with the phrases, their scores, and their boxes as regions of
      the film; a phrase without a box has its score alone.

    Args:
        plan: of `plan_dicom`.
        findings: one a phrase.
        picture: the overlay, PNG.
        threshold: of the segments, as of boxes.
        is_generated: whether the model was trained on generated studies, which every object then says.
    """
    notice = f"{NOTICE}, {GENERATED_NOTICE}" if is_generated else NOTICE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of odd names and times in the source, which are copied
        objects = {
            "overlay": _overlay(plan.source, picture),
            "segments": _segments(plan.source, findings, notice, threshold=threshold),
            "report": _report(plan.source, findings, notice),
        }
        for name, made in objects.items():
            made.SeriesDescription = f"{notice}: {name}"
            made.SpecificCharacterSet = "ISO_IR 192"  # phrases are any text, whatever the source's letters
            write_atomic(plan.paths[name], made.save_as)
    return tuple(plan.paths.values())


def _ids(name: str) -> dict[str, Any]:
    """Of a new series with one object."""
    uid: Callable[[], str] = _highdicom().UID
    return {
        "series_instance_uid": uid(),
        "series_number": SERIES[name],
        "sop_instance_uid": uid(),
        "instance_number": 1,
        "manufacturer": MAKER,
    }


def _overlay(source: Dataset, picture: bytes) -> Dataset:
    made: Dataset = _highdicom().sc.SCImage.from_ref_dataset(
        source,
        np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        **_ids("overlay"),
    )
    made.PatientOrientation = None  # several panels side by side have none
    made.Laterality = None
    made.BurnedInAnnotation = "YES"
    return made


def _segments(
    source: Dataset, findings: Sequence[PhraseFinding], notice: str, *, threshold: float
) -> Dataset:
    hd = _highdicom()
    masks = [stands_out(finding.values, threshold=threshold) for finding in findings]
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=_label(finding.phrase),
            segmented_property_category=_code("49755003", "SCT", "Morphologically abnormal structure"),
            segmented_property_type=_code("52988006", "SCT", "Lesion"),
            algorithm_type="AUTOMATIC",
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                name=DEVICE,
                version=versions()["mmil"],
                family=_code("123109", "DCM", "Artificial Intelligence"),
            ),
        )
        for number, finding in enumerate(findings, start=1)
    ]
    made: Dataset = hd.seg.Segmentation(
        [source],
        np.stack(masks, axis=-1)[None].astype(np.uint8),
        "BINARY",
        descriptions,
        manufacturer_model_name=DEVICE,
        software_versions=versions()["mmil"],
        device_serial_number="none",
        content_label="PHRASES",
        content_description=notice,
        omit_empty_frames=False,
        **_ids("segments"),
    )
    made.PatientOrientation = source.get("PatientOrientation")
    _without_false_spacing(made)
    return made


def _without_false_spacing(made: Dataset) -> None:
    """A source without spacing gives zeros, which say that its pixels are nothing wide."""
    for group in made.SharedFunctionalGroupsSequence:
        for measures in group.get("PixelMeasuresSequence", ()):
            if 0 in (measures.get("PixelSpacing") or ()):
                del measures.PixelSpacing


def _report(source: Dataset, findings: Sequence[PhraseFinding], notice: str) -> Dataset:
    hd = _highdicom()
    sr = hd.sr
    device = sr.DeviceObserverIdentifyingAttributes(uid=hd.UID(), name=DEVICE, manufacturer_name=MAKER)
    observer = sr.ObserverContext(
        observer_type=_code("121007", "DCM", "Device"), observer_identifying_attributes=device
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=_code("399208008", "SCT", "Plain X-ray of chest"),
        imaging_measurements=[group for finding in findings for group in _groups(source, finding)],
        title=_code("126000", "DCM", "Imaging Measurement Report"),
    )
    comment = sr.TextContentItem(
        name=_code("121106", "DCM", "Comment"), value=notice, relationship_type="CONTAINS"
    )
    content[0].ContentSequence.append(comment)
    made: Dataset = sr.ComprehensiveSR(
        evidence=[source],
        content=content,
        is_complete=True,
        is_final=False,
        is_verified=False,
        **_ids("report"),
    )
    return made


def _groups(source: Dataset, finding: PhraseFinding) -> list[Any]:
    """A measurement group for each box of a phrase; one without a region where it has none."""
    sr = _highdicom().sr
    shared = {
        "tracking_identifier": sr.TrackingIdentifier(uid=_highdicom().UID(), identifier=finding.phrase),
        "measurements": [
            sr.Measurement(
                name=_code("SCORE", "99MMIL", "Score of the phrase, comparable within one model"),
                value=float(finding.score),
                unit=_code("1", "UCUM", "no units"),
            )
        ],
    }
    if not finding.boxes:
        return [sr.MeasurementsAndQualitativeEvaluations(**shared)]
    regions = [
        sr.ImageRegion(
            graphic_type="POLYLINE",
            graphic_data=_corners(found.box),
            source_image=sr.SourceImageForRegion.from_source_image(source),
        )
        for found in finding.boxes
    ]
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations
    return [group(referenced_region=region, **shared) for region in regions]


def _corners(box: tuple[float, float, float, float]) -> np.ndarray:
    """A box in pixels as the closed line around it [5, 2]."""
    x, y, width, height = box
    across, down = np.array([0, 1, 1, 0, 0]), np.array([0, 0, 1, 1, 0])
    return np.column_stack([x + width * across, y + height * down])


def _label(phrase: str) -> str:
    return shortened(phrase.replace("\\", "/"), LABEL_LETTERS)


def _code(value: str, scheme: str, meaning: str) -> Any:
    return _highdicom().sr.CodedConcept(value, scheme, meaning)


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError as error:
        raise UsageError('--dicom needs the extra: pip install "mmil[dicom]"') from error
    return highdicom
