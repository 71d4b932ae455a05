"""Bits, padding, inversion and colour on the way to the displayed film."""

from typing import Any

import numpy as np
import pytest
from dicom_files import FLOAT32, SHAPE, finish, header_of, read_stored, rejection, some_values, write
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless

from mmil_cli.data.dicom import read_dicom
from mmil_cli.data.reasons import Reason


class TestInversion:
    def test_presentation_inverse_inverts_once(self, tmp_path) -> None:
        stored = some_values(12, False)
        window = {"WindowCenter": "2048", "WindowWidth": "4096"}
        kinds = {
            (photometric, shape): read_dicom(
                write(
                    tmp_path / "a.dcm",
                    stored,
                    PhotometricInterpretation=photometric,
                    PresentationLUTShape=shape,
                    **window,
                )
            ).pixels
            for photometric in ("MONOCHROME1", "MONOCHROME2")
            for shape in ("IDENTITY", "INVERSE")
        }
        upright = kinds["MONOCHROME2", "IDENTITY"]
        for inverted in (("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE"), ("MONOCHROME1", "INVERSE")):
            np.testing.assert_allclose(kinds[inverted], 1 - upright, **FLOAT32)

    @pytest.mark.parametrize("bits", [8, 12, 16])
    def test_twins_without_a_window_look_the_same(self, tmp_path, bits: int) -> None:
        stored = some_values(bits, False)
        upright = read_dicom(write(tmp_path / "a.dcm", stored, bits=bits))
        flipped = ((1 << bits) - 1) - stored
        path = write(tmp_path / "b.dcm", flipped, bits=bits, PhotometricInterpretation="MONOCHROME1")
        np.testing.assert_allclose(read_dicom(path).pixels, upright.pixels, **FLOAT32)


class TestStoredBits:
    @pytest.mark.parametrize("signed", [False, True])
    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
    def test_garbage_in_unused_bits(self, tmp_path, signed: bool, syntax: UID) -> None:
        stored = some_values(12, signed)
        window = {"WindowCenter": "0", "WindowWidth": "4096"}
        clean = read_dicom(write(tmp_path / "a.dcm", stored, signed=signed, **window))
        path = write(tmp_path / "b.dcm", stored, signed=signed, garbage=0xA000, syntax=syntax, **window)
        np.testing.assert_array_equal(read_stored(path), stored)
        np.testing.assert_array_equal(read_dicom(path).pixels, clean.pixels)

    def test_a_high_bit_above_the_lowest_place(self, tmp_path) -> None:
        stored = some_values(12, False)
        path = write(tmp_path / "a.dcm", stored << 4, bits=16, BitsStored=12, HighBit=15)
        np.testing.assert_array_equal(read_stored(path), stored)

    def test_32_bit_integers_and_floats(self, tmp_path) -> None:
        values = some_values(16, False) * 60_000
        dataset = header_of(values, 16, False, BitsAllocated=32, BitsStored=32, HighBit=31)
        dataset.WindowCenter, dataset.WindowWidth = "2e9", "3e9"
        dataset.PixelData = values.astype("<u4").tobytes()
        expected = np.clip((values - (2e9 - 0.5)) / (3e9 - 1) + 0.5, 0, 1)
        film = read_dicom(finish(tmp_path / "a.dcm", dataset, ExplicitVRLittleEndian))
        np.testing.assert_allclose(film.pixels, expected, **FLOAT32)
        del dataset.PixelData
        dataset.FloatPixelData = values.astype("<f4").tobytes()
        film = read_dicom(finish(tmp_path / "b.dcm", dataset, ExplicitVRLittleEndian))
        np.testing.assert_allclose(film.pixels, expected, rtol=0, atol=1e-6)


class TestPadding:
    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    @pytest.mark.parametrize(("value", "limit"), [(4095, None), (4000, 4095), (4095, 4000)])
    def test_is_black_and_counts_in_no_percentile(
        self, tmp_path, photometric: str, value: int, limit
    ) -> None:
        stored = np.linspace(1000, 2000, 10_000).astype(np.int64).reshape(100, 100)
        bare = read_dicom(write(tmp_path / "a.dcm", stored[:70], PhotometricInterpretation=photometric))
        stored[70:] = 4095
        elements = {"PixelPaddingValue": value} | ({"PixelPaddingRangeLimit": limit} if limit else {})
        path = write(tmp_path / "b.dcm", stored, PhotometricInterpretation=photometric, **elements)
        film = read_dicom(path)
        assert (film.pixels[70:] == 0).all()
        np.testing.assert_allclose(film.pixels[:70], bare.pixels, atol=0.003)

    def test_negative(self, tmp_path) -> None:
        stored = some_values(12, True)
        stored[5:9] = -2000
        film = read_dicom(
            write(
                tmp_path / "a.dcm",
                stored,
                signed=True,
                PixelPaddingValue=-2000,
                PhotometricInterpretation="MONOCHROME1",
            )
        )
        assert (film.pixels[5:9] == 0).all()

    def test_wider_than_the_stored_bits(self, tmp_path) -> None:
        stored = some_values(12, False)
        stored[5:9] = 63536
        film = read_dicom(write(tmp_path / "a.dcm", stored, PixelPaddingValue=63536))
        assert (film.pixels[5:9] == 0).all()

    def test_nothing_else_is_blank(self, tmp_path) -> None:
        path = write(tmp_path / "a.dcm", np.full(SHAPE, 9), PixelPaddingValue=9)
        assert rejection(path).reason == Reason.BLANK


class TestColour:
    def colour(self, tmp_path, values: np.ndarray, photometric: str, **elements: Any) -> np.ndarray:
        dataset = header_of(values, 8, False, **elements)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = (
            3,
            photometric,
            0,
        )
        dataset.PixelData = values.astype(np.uint8).tobytes()
        return read_dicom(finish(tmp_path / "film.dcm", dataset, ExplicitVRLittleEndian)).pixels

    def test_luma_of_rgb_whatever_the_window(self, tmp_path) -> None:
        rgb = np.random.default_rng(0).integers(0, 256, (10, 12, 3))
        film = self.colour(tmp_path, rgb, "RGB", WindowCenter="10", WindowWidth="3")
        np.testing.assert_allclose(film, rgb @ [0.299, 0.587, 0.114] / 255, atol=1e-6)

    def test_luma_of_ybr_is_its_first_channel(self, tmp_path) -> None:
        ybr = np.random.default_rng(0).integers(100, 156, (10, 12, 3))
        film = self.colour(tmp_path, ybr, "YBR_FULL")
        np.testing.assert_allclose(film, ybr[..., 0] / 255, atol=1.01 / 255)

    def test_palette(self, tmp_path) -> None:
        stored = some_values(8, False)
        elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
        table = np.arange(256)[::-1].astype(np.uint16) * 257
        for colour in ("Red", "Green", "Blue"):
            elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
            elements[f"{colour}PaletteColorLookupTableData"] = table.tobytes()
        film = read_dicom(write(tmp_path / "a.dcm", stored, bits=8, **elements))
        np.testing.assert_allclose(film.pixels, 1 - stored / 255, atol=1e-6)
