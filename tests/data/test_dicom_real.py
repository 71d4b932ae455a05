"""The DICOM files that come with pydicom, and real radiographs where they are present."""

import csv
import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dicom_files import FLOAT32, assert_as_pydicom, assert_film_or_reason, read_stored, rejection
from pydicom import dcmread
from pydicom.data.data_manager import DATA_ROOT
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRBigEndian

from mmil_cli.data.decoding import decode_frame
from mmil_cli.data.dicom import read_header
from mmil_cli.data.images import read_film
from mmil_cli.data.reasons import Reason

PYDICOM_FILES = sorted(path for path in Path(DATA_ROOT, "test_files").rglob("*") if path.is_file())


REASONS = {
    "film": {"CR", "CT", "MR", "NM", "US", "OT", ""},
    Reason.NOT_A_PICTURE: {"SEG", "RTDOSE"},
    Reason.LOCALISER: {"CT"},
    Reason.MULTI_FRAME: {"OT", "US", "RTDOSE", "PX", ""},
}
"""What kinds of objects end as what, of those that end as one of these."""


@pytest.mark.filterwarnings("ignore")  # of the reading in the test itself
@pytest.mark.parametrize("path", PYDICOM_FILES, ids=lambda path: path.name)
def test_every_file_of_pydicom_is_a_film_or_a_reason(path: Path, capfd) -> None:
    outcome = assert_film_or_reason(path)
    assert capfd.readouterr() == ("", "")
    modality = str(dcmread(path, force=True, specific_tags=["Modality"]).get("Modality") or "")
    assert modality in REASONS.get(outcome, {modality})


def test_the_outcomes_are_counted() -> None:
    """Every file that pydicom installs for its own tests; a new version of it may bring some more."""
    counts = Counter(assert_film_or_reason(path) for path in PYDICOM_FILES)
    assert sum(counts.values()) == len(PYDICOM_FILES)
    assert counts["film"] >= 72
    assert counts[Reason.NO_PIXELS] >= 71
    least = {Reason.NOT_A_PICTURE: 9, Reason.MULTI_FRAME: 4, Reason.LOCALISER: 2, Reason.BLANK: 2,
             Reason.UNSUPPORTED_SYNTAX: 2, Reason.TRUNCATED: 1}  # fmt: skip
    assert {reason: counts[reason] for reason in least} == least
    assert counts[Reason.UNREADABLE] <= 3, "JPEG 2000 that holds a delimiter, and two without a header"


@pytest.mark.filterwarnings("ignore")  # of the other reading
def test_every_film_of_pydicom_has_the_values_that_another_reading_gives() -> None:
    compared = Counter(compare_with_another_reading(path) for path in PYDICOM_FILES
                       if assert_film_or_reason(path) == "film")  # fmt: skip
    assert compared["equal"] >= 65, compared
    assert compared["no other"] <= 7, compared


def compare_with_another_reading(path: Path) -> str:
    """Whether GDCM, where the file is compressed, or the plain bytes give the same values."""
    header = read_header(path)
    ours, syntax = decode_frame(header, path), header.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        pixels = header.PixelData[: ours.nbytes]
        if (
            (order == ">" and ours.itemsize == 1)
            or len(pixels) < ours.nbytes
            or header.get("PlanarConfiguration")
        ):
            return "no other"
        theirs = np.frombuffer(pixels, ours.dtype.newbyteorder(order)).reshape(ours.shape)
    else:
        try:
            theirs = pixel_array(dcmread(path), decoding_plugin="gdcm")
        except (ValueError, RuntimeError):
            return "no other"
    if str(header.PhotometricInterpretation).startswith("YBR") and not syntax.is_encapsulated:
        return "no other"
    np.testing.assert_array_equal(ours, theirs, err_msg=path.name)
    return "equal"


class TestRealFiles:
    def rows(self, shared_data: Path) -> list[dict[str, str]]:
        with (shared_data / "dicom" / "manifest.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def test_stored_values_are_those_of_the_manifest(self, shared_data: Path) -> None:
        checked = 0
        for row in self.rows(shared_data):
            if row["decoded"] != "1":
                continue
            path = shared_data / "dicom" / row["file"]
            height, width, lowest, highest = map(
                int, re.match(r"\((\d+), (\d+)\) \w+ (-?\d+)\.\.(-?\d+)", row["pixels"]).groups()
            )
            stored = read_stored(path)
            assert stored.shape == (height, width), row["file"]
            assert (stored.min(), stored.max()) == (lowest, highest), row["file"]
            if digest := re.search(r"sha256=(\w+)", row["pixels"]):
                dtype = re.search(r"\) (\w+) ", row["pixels"])[1]
                assert hashlib.sha256(stored.astype(dtype).tobytes()).hexdigest().startswith(digest[1]), row[
                    "file"
                ]
            film = read_film(path)
            assert film.pixels.shape == (height, width)
            assert 0 <= film.pixels.min() < film.pixels.max() <= 1
            checked += 1
        assert checked >= 20

    def test_bad_files_are_reasons(self, shared_data: Path) -> None:
        folder = shared_data / "dicom"
        assert rejection(folder / "chest_derived/bad_not_dicom.dcm").reason == Reason.NOT_AN_IMAGE
        assert rejection(folder / "chest_derived/bad_truncated_pixels.dcm").reason == Reason.TRUNCATED
        assert rejection(folder / "other_radiographs/RG3_JPLY.dcm").reason == Reason.UNSUPPORTED_SYNTAX

    def test_monochrome_twins_display_identically(self, shared_data: Path) -> None:
        folder = shared_data / "dicom" / "chest_derived"
        first, second = (read_film(folder / f"nih_mono{kind}_8bit.dcm").pixels for kind in (1, 2))
        np.testing.assert_allclose(first, second, **FLOAT32)

    def test_one_picture_in_six_syntaxes_displays_identically(self, shared_data: Path) -> None:
        paths = sorted((shared_data / "dicom" / "chest_derived").glob("rg1d_*.dcm"))
        films = [read_film(path).pixels for path in paths]
        assert len(films) == 6
        for film in films[1:]:
            np.testing.assert_array_equal(film, films[0])

    @pytest.mark.parametrize(
        "name",
        [
            "chest_real/RG1_J2KI.dcm",
            "other_radiographs/RG2_JLSL.dcm",
            "other_radiographs/vlut_04.dcm",
            "chest_derived/nih_signed12_rescale.dcm",
        ],
    )
    def test_displayed_as_pydicom_would(self, shared_data: Path, name: str) -> None:
        assert_as_pydicom(shared_data / "dicom" / name)
