"""DICOM objects of what was found: they refer to the film, agree with the record, and a PACS takes them."""

import hashlib
import io
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_studies
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from mmil_cli.build import load_checkpoint
from mmil_cli.errors import DataError, UsageError
from mmil_cli.stages.dicom_out import plan_dicom, write_dicom
from mmil_cli.stages.ground import GroundResult, run
from mmil_cli.stages.similarity import stands_out

PHRASES = ["Bright left lower square.", "Éclat à droite \\ rien"]
OBJECTS = ("overlay", "segments", "report")
hd = pytest.importorskip("highdicom", reason="the extra is not installed")


def write_film(path: Path, **changes: object) -> Path:
    """A computed radiograph of a generated film; `None` leaves an element out."""
    pixels = np.kron(tiny_studies.draw_film(["left lower"], np.random.default_rng(1)).pixels, np.ones((2, 3)))
    film = Dataset()
    values = {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": ComputedRadiographyImageStorage, "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "Modality": "CR",
        "PatientID": "p1", "PatientName": "Müller^Änne", "PatientBirthDate": "", "PatientSex": "F",
        "StudyDate": "20200101", "StudyTime": "", "StudyID": "", "AccessionNumber": "7",
        "ReferringPhysicianName": "", "BodyPartExamined": "CHEST", "Rows": pixels.shape[0],
        "Columns": pixels.shape[1], "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "SamplesPerPixel": 1,
        "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": pixels.astype(np.uint8).tobytes(),
    }  # fmt: skip
    for name, value in (values | changes).items():
        if value is not None:
            setattr(film, name, value)
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.save_as(path, enforce_file_format="SOPInstanceUID" in film)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "film.dcm")


@pytest.fixture(scope="module")
def found(film: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> GroundResult:
    before = film.read_bytes()
    out = tmp_path_factory.mktemp("objects")
    result = run(film, PHRASES, checkpoint=tiny_run, out=out, dicom=True, device="cpu")
    assert film.read_bytes() == before
    assert [path.name for path in result.objects] == [f"film_{name}.dcm" for name in OBJECTS]
    return result


def test_every_object_is_of_the_films_study_and_says_what_it_is_not_for(
    film: Path, found: GroundResult
) -> None:
    source = dcmread(film)
    series = set()
    for path in found.objects:
        made = dcmread(path)
        for name in ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber"):
            assert made[name].value == source[name].value
        assert made.SeriesDescription.startswith("Not for clinical use: ")
        assert str(source.SOPInstanceUID) in str(made) or path.stem == "film_overlay"
        series.add(made.SeriesInstanceUID)
    assert len(series | {source.SeriesInstanceUID}) == 4


def test_the_overlay_is_the_picture(found: GroundResult) -> None:
    made = dcmread(found.objects[0])
    np.testing.assert_array_equal(made.pixel_array, np.asarray(Image.open(found.picture).convert("RGB")))
    assert made.BurnedInAnnotation == "YES"


def test_segments_are_where_maps_stand_out_on_the_films_own_pixels(found: GroundResult) -> None:
    segments = hd.seg.segread(found.objects[1])
    assert [segments.get_segment_description(n).segment_label for n in (1, 2)] == [
        PHRASES[0],
        "Éclat à droite / rien",
    ]
    for number, finding in enumerate(found.findings):
        frame = segments.pixel_array[number]
        assert frame.any()
        np.testing.assert_array_equal(frame, stands_out(finding.values, threshold=0.5))


def test_the_report_has_phrases_scores_and_boxes(found: GroundResult) -> None:
    report = hd.sr.srread(found.objects[2])
    groups = report.content.get_planar_roi_measurement_groups()
    record = json.loads(found.record.read_text())["phrases"]
    expected = [
        (phrase["phrase"], phrase["score"], [box[key] for key in "xywh"])
        for phrase in record
        for box in phrase["boxes"]
    ]
    assert len(groups) == len(expected) >= 2
    for group, (phrase, score, box) in zip(groups, expected, strict=True):
        corners = group.roi.value
        assert group.tracking_identifier == phrase
        assert group.get_measurements()[0].value == pytest.approx(score, rel=1e-5)
        low, high = corners.min(axis=0), corners.max(axis=0)
        assert [*low, *(high - low)] == pytest.approx(box, abs=1e-3)
    assert report.ContentSequence[-1].TextValue == "Not for clinical use"


def test_a_model_of_generated_studies_says_so(film: Path, tiny_run: Path, tmp_path: Path) -> None:
    run_of_generated = shutil.copytree(tiny_run, tmp_path / "run")
    card = run_of_generated / "checkpoint" / "card.json"
    content = json.loads(card.read_text())
    content["dataset_options"]["generated"] = "yes"
    card.write_text(json.dumps(content))
    result = run(
        film, PHRASES[:1], checkpoint=run_of_generated, out=tmp_path / "out", dicom=True, device="cpu"
    )
    for path in result.objects:
        assert "trained on generated data" in dcmread(path).SeriesDescription
    assert "trained on generated data" in dcmread(result.objects[2]).ContentSequence[-1].TextValue


def test_a_phrase_that_nothing_stands_out_for_has_its_score_alone(
    film: Path, found: GroundResult, tmp_path: Path
) -> None:
    from dataclasses import replace

    finding = found.findings[0]
    flat = replace(finding, boxes=(), grid=np.zeros_like(finding.grid))
    picture = found.picture.read_bytes()
    paths = write_dicom(plan_dicom(film, tmp_path), [flat], picture, threshold=0.5, is_generated=False)
    assert not hd.seg.segread(paths[1]).pixel_array.any()
    report = hd.sr.srread(paths[2])
    assert not report.content.get_planar_roi_measurement_groups()
    assert f"{finding.score:.4f}"[:4] in str(report)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"StudyInstanceUID": None}, "lacks StudyInstanceUID"),
        ({"SeriesInstanceUID": ""}, "SeriesInstanceUID"),
    ],
)
def test_a_film_that_nothing_can_refer_to_is_refused(tmp_path: Path, changes: dict, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        plan_dicom(write_film(tmp_path / "bare.dcm", **changes), tmp_path)


def test_a_picture_and_a_film_in_the_way_are_refused(film: Path, tiny_run: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(tmp_path / "film.png")
    with pytest.raises(UsageError, match=r"film\.png is none"):
        run(tmp_path / "film.png", PHRASES, checkpoint=tiny_run, out=tmp_path / "out", dicom=True)
    linked = tmp_path / "a.dcm"
    linked.symlink_to(write_film(tmp_path / "a_report.dcm"))
    with pytest.raises(UsageError, match="would write over"):
        plan_dicom(linked, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_source_without_what_may_be_empty_gives_objects_all_the_same(
    tiny_run: Path, tmp_path: Path
) -> None:
    bare = write_film(tmp_path / "bare.dcm", PatientBirthDate=None, StudyID=None, ReferringPhysicianName=None,
                      PatientName=None, StudyTime=None)  # fmt: skip
    result = run(bare, PHRASES, checkpoint=tiny_run, out=tmp_path / "out", dicom=True, device="cpu")
    assert check(result.objects) == []


def test_the_objects_pass_dciodvfy(found: GroundResult) -> None:
    assert check(found.objects) == []


def check(paths: tuple[Path, ...]) -> list[str]:
    """What dciodvfy calls errors."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    said = [
        subprocess.run(["dciodvfy", path], capture_output=True, errors="replace", check=False)
        for path in paths
    ]
    return [line for each in said for line in each.stderr.splitlines() if line.startswith(("Error", "Abort"))]


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[str]:
    """The address of a server of our own on loopback, empty."""
    program = shutil.which("Orthanc")
    if program is None:
        pytest.skip("Orthanc is not installed (Debian: orthanc)")
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        http, dicom = first.getsockname()[1], second.getsockname()[1]
    options = {"HttpPort": http, "DicomPort": dicom, "StorageDirectory": str(tmp_path / "store"),
               "IndexDirectory": str(tmp_path / "store"), "RemoteAccessAllowed": False, "Plugins": [],
               "AuthenticationEnabled": False, "StableAge": 1}  # fmt: skip
    (tmp_path / "orthanc.json").write_text(json.dumps(options))
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen([program, tmp_path / "orthanc.json"], stdout=log, stderr=log)
        address = f"http://127.0.0.1:{http}"
        try:
            wait_for(address, server)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_for(address: str, server: subprocess.Popen) -> None:
    for _ in range(200):
        assert server.poll() is None, "the server ended"
        try:
            ask(f"{address}/system")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server does not answer")


def ask(address: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, data=body), timeout=30) as answer:
        content: bytes = answer.read()
    return content


def test_a_pacs_stores_them_and_gives_them_back(pacs: str, film: Path, found: GroundResult) -> None:
    for path in (film, *found.objects):
        stored = json.loads(ask(f"{pacs}/instances", path.read_bytes()))
        assert stored["Status"] == "Success"
        back = ask(f"{pacs}/instances/{stored['ID']}/file")
        assert hashlib.sha256(back).digest() == hashlib.sha256(path.read_bytes()).digest()
        assert dcmread(io.BytesIO(back)).SOPInstanceUID == dcmread(path).SOPInstanceUID
    (study,) = json.loads(ask(f"{pacs}/studies?expand"))
    assert len(study["Series"]) == 4


def test_checkpoints_of_generated_studies_know_it(tmp_path: Path) -> None:
    from mmil_cli.data.sources.find import GENERATED_FILE, find_records
    from mmil_cli.data.sources.options import SourceOptions
    from mmil_cli.phantom.difficulty import Difficulty
    from mmil_cli.phantom.tables import MARKER_FILE
    from mmil_cli.stages import phantom

    assert GENERATED_FILE == MARKER_FILE
    phantom.run(tmp_path / "s", studies=3, seed=0, difficulty=Difficulty.EASY, side=64)
    assert dict(find_records(tmp_path / "s", SourceOptions()).options)["generated"] == "yes"
    (tmp_path / "s" / GENERATED_FILE).unlink()
    assert "generated" not in dict(find_records(tmp_path / "s", SourceOptions()).options)


def test_the_marks_of_a_checkpoint_are_read_from_its_card(tiny_run: Path) -> None:
    assert "generated" not in load_checkpoint(tiny_run, device="cpu").checkpoint.card.dataset_options
