"""Windows and lookup tables, against an independent computation and against pydicom's own."""

import itertools

import numpy as np
import pytest
from dicom_files import (
    FLOAT32,
    SYNTAXES,
    WINDOWS,
    assert_as_pydicom,
    elements_of,
    expected_film,
    lut,
    rejection,
    some_values,
    write,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRBigEndian

from mmil_cli.data.dicom import read_dicom
from mmil_cli.data.reasons import Reason

MATRIX = list(
    itertools.product(
        ["MONOCHROME1", "MONOCHROME2"],
        [8, 10, 12, 15, 16],
        [False, True],
        [None, (2.0, -1000.0), (-0.5, 7.25)],
        WINDOWS,
    )
)


@pytest.mark.parametrize(("photometric", "bits", "signed", "rescale", "window"), MATRIX)
def test_display_matrix(tmp_path, photometric: str, bits: int, signed: bool, rescale, window: str) -> None:
    stored = some_values(bits, signed)
    elements = elements_of(photometric, window, rescale, bits, signed)
    film = read_dicom(write(tmp_path / "film.dcm", stored, bits=bits, signed=signed, **elements))
    assert film.pixels.dtype == np.float32
    np.testing.assert_allclose(film.pixels, expected_film(stored, bits, signed, elements), **FLOAT32)


@pytest.mark.parametrize(
    ("photometric", "window"), list(itertools.product(["MONOCHROME1", "MONOCHROME2"], WINDOWS))
)
@pytest.mark.parametrize("rescale", [None, (2.0, -1000.0)])
def test_agrees_with_pydicom(tmp_path, photometric: str, window: str, rescale) -> None:
    elements = elements_of(photometric, window, rescale, 12, True)
    path = write(tmp_path / "film.dcm", some_values(12, True), signed=True, **elements)
    if window != "none":
        assert_as_pydicom(path)


class TestTables:
    @pytest.mark.parametrize("signed", [False, True])
    @pytest.mark.parametrize("syntax", SYNTAXES[:4], ids=lambda syntax: syntax.name)
    def test_modality_and_voi_tables(self, tmp_path, signed: bool, syntax: UID) -> None:
        first = -1500 if signed else 300
        modality = (np.sqrt(np.arange(3000)) * 70).astype(np.uint16)
        voi = np.linspace(0, 1023, 2000).astype(np.uint16)[::-1]
        elements = {"ModalityLUTSequence": lut(modality, first, 16), "VOILUTSequence": lut(voi, 500, 10)}
        stored = some_values(12, signed)
        path = write(tmp_path / "film.dcm", stored, signed=signed, syntax=syntax, **elements)
        values = modality[np.clip(stored - first, 0, 2999)].astype(int)
        expected = voi[np.clip(values - 500, 0, 1999)] / 1023
        np.testing.assert_allclose(read_dicom(path).pixels, expected, **FLOAT32)
        if syntax != ExplicitVRBigEndian:
            assert_as_pydicom(path)

    def test_the_modality_table_goes_before_the_rescale_beside_it(self, tmp_path) -> None:
        table = np.arange(4096, dtype=np.uint16)[::-1]
        elements = {
            "RescaleSlope": "1",
            "RescaleIntercept": "0",
            "WindowCenter": "2048",
            "WindowWidth": "4096",
        }
        stored = some_values(12, False)
        film = read_dicom(
            write(tmp_path / "a.dcm", stored, ModalityLUTSequence=lut(table, 0, 12), **elements)
        )
        assert film.pixels[0, 0] > film.pixels[0, 1]

    def test_the_voi_table_goes_before_the_window_beside_it(self, tmp_path) -> None:
        table = np.arange(4096, dtype=np.uint16)[::-1]
        elements = {"WindowCenter": "2048", "WindowWidth": "4096", "VOILUTSequence": lut(table, 0, 12)}
        stored = some_values(12, False)
        film = read_dicom(write(tmp_path / "a.dcm", stored, **elements))
        np.testing.assert_allclose(film.pixels, (4095 - stored) / 4095, **FLOAT32)

    def test_65536_entries_are_written_as_zero(self, tmp_path) -> None:
        table = np.arange(65536, dtype=np.uint16)[::-1].copy()
        stored = some_values(16, False)
        film = read_dicom(write(tmp_path / "a.dcm", stored, bits=16, VOILUTSequence=lut(table, 0, 16)))
        np.testing.assert_allclose(film.pixels, (65535 - stored) / 65535, **FLOAT32)

    def test_8_bit_entries_packed_two_to_a_word(self, tmp_path) -> None:
        entries = (np.arange(256) // 2 + 100).astype(np.uint8)
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [256, 0, 8])
        item.add_new("LUTData", "OW", entries.tobytes())
        stored = some_values(8, False)
        film = read_dicom(write(tmp_path / "a.dcm", stored, bits=8, VOILUTSequence=Sequence([item])))
        np.testing.assert_allclose(film.pixels, entries[stored] / 255, **FLOAT32)

    def test_a_negative_first_value_written_unsigned(self, tmp_path) -> None:
        """Unsigned pixels, negative after the rescale: writers put 65536 - 1000 there."""
        entries = np.arange(4096, dtype=np.uint16)
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [4096, 65536 - 1000, 12])
        item.add_new("LUTData", "US", entries.tolist())
        stored = some_values(12, False)
        elements = {"RescaleSlope": "1", "RescaleIntercept": "-1000", "VOILUTSequence": Sequence([item])}
        film = read_dicom(write(tmp_path / "a.dcm", stored, **elements))
        np.testing.assert_allclose(film.pixels, stored / 4095, **FLOAT32)

    def test_entries_larger_than_the_declared_depth_stay_below_white(self, tmp_path) -> None:
        table = np.arange(4096, dtype=np.uint16)
        stored = some_values(12, False)
        film = read_dicom(write(tmp_path / "a.dcm", stored, VOILUTSequence=lut(table, 0, 8)))
        np.testing.assert_allclose(film.pixels, stored / 4095, **FLOAT32)

    def test_a_table_that_is_too_short_is_a_reason(self, tmp_path) -> None:
        sequence = lut(np.arange(100, dtype=np.uint16), 0, 12)
        sequence[0].LUTDescriptor = [4096, 0, 12]
        path = write(tmp_path / "a.dcm", some_values(12, False), VOILUTSequence=sequence)
        assert rejection(path).reason == Reason.UNREADABLE


class TestWindows:
    @pytest.mark.parametrize(
        "elements",
        [
            {"WindowCenter": "100", "WindowWidth": "0"},
            {"WindowCenter": "100", "WindowWidth": "-5"},
            {"WindowCenter": "100", "WindowWidth": "0.5"},
            {"WindowCenter": "100", "WindowWidth": "0", "VOILUTFunction": "SIGMOID"},
            {"WindowCenter": "", "WindowWidth": ""},
            {"WindowCenter": "100"},
            {"WindowWidth": "100"},
        ],
    )
    def test_one_the_standard_forbids_counts_as_missing(self, tmp_path, elements: dict[str, str]) -> None:
        stored = some_values(12, False)
        without = read_dicom(write(tmp_path / "a.dcm", stored))
        film = read_dicom(write(tmp_path / "b.dcm", stored, **elements))
        np.testing.assert_array_equal(film.pixels, without.pixels)

    def test_width_one_is_a_threshold(self, tmp_path) -> None:
        stored = some_values(12, False)
        film = read_dicom(write(tmp_path / "a.dcm", stored, WindowCenter="2000", WindowWidth="1"))
        np.testing.assert_array_equal(film.pixels, (stored > 1999.5).astype(np.float32))

    @pytest.mark.parametrize("center", ["-9000", "90000"])
    def test_one_that_shows_nothing_is_blank(self, tmp_path, center: str) -> None:
        path = write(tmp_path / "a.dcm", some_values(12, False), WindowCenter=center, WindowWidth="100")
        assert rejection(path).reason == Reason.BLANK

    def test_percentiles_pass_over_hot_pixels(self, tmp_path) -> None:
        stored = np.linspace(1000, 2000, 10_000).astype(np.int64).reshape(100, 100)
        stored[0, :10] = 4095
        film = read_dicom(write(tmp_path / "a.dcm", stored))
        assert film.pixels[50, 50] == pytest.approx(0.5, abs=0.02)

    def test_a_flat_film_with_a_marker_shows_the_marker(self, tmp_path) -> None:
        stored = np.full((100, 100), 500)
        stored[3, 3:6] = 4000
        film = read_dicom(write(tmp_path / "a.dcm", stored))
        assert (film.pixels[3, 4], film.pixels[50, 50]) == (1.0, 0.0)
