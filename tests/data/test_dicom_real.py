"""The DICOM files that come with pydicom, and real radiographs where they are present."""

import csv
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from dicom_files import FLOAT32, assert_as_pydicom, assert_film_or_reason, read_stored, rejection
from pydicom.data.data_manager import DATA_ROOT

from mmil_cli.data.images import read_film
from mmil_cli.data.reasons import Reason

PYDICOM_FILES = sorted(path for path in Path(DATA_ROOT, "test_files").rglob("*") if path.is_file())


@pytest.mark.parametrize("path", PYDICOM_FILES, ids=lambda path: path.name)
def test_every_file_of_pydicom_is_a_film_or_a_reason(path: Path, capfd) -> None:
    assert_film_or_reason(path)
    assert capfd.readouterr() == ("", "")


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
