"""DICOM files of every syntax, damaged ones, those that come with pydicom, and real ones."""

import itertools
import logging
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import (
    COMPRESSED,
    FLOAT32,
    SECRET,
    SHAPE,
    SYNTAXES,
    assert_film_or_reason,
    elements_of,
    expected_film,
    finish,
    header_of,
    jpeg,
    read_stored,
    rejection,
    some_values,
    write,
)
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    ParametricMapStorage,
    RLELossless,
    RTDoseStorage,
)

from mmil_cli.data.dicom import read_dicom, read_header
from mmil_cli.data.film import is_turned
from mmil_cli.data.images import read_film
from mmil_cli.data.reasons import Reason
from mmil_cli.stages.fuzz.films import with_values


@pytest.mark.parametrize(("bits", "signed"), list(itertools.product([8, 10, 12, 15, 16], [False, True])))
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_syntax_matrix(tmp_path, syntax: UID, bits: int, signed: bool) -> None:
    stored = some_values(bits, signed)
    elements = elements_of("MONOCHROME1", "linear", (2.0, -5.0), bits, signed)
    path = write(tmp_path / "film.dcm", stored, bits=bits, signed=signed, syntax=syntax, **elements)
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read_stored(path), stored)
    np.testing.assert_allclose(
        read_film(path).pixels, expected_film(stored, bits, signed, elements), **FLOAT32
    )


def test_jpeg_baseline(tmp_path) -> None:
    picture = some_values(8, False).astype(np.uint8)
    film = read_dicom(jpeg(tmp_path / "a.dcm", picture))
    assert np.abs(film.pixels * 255 - picture).mean() < 4


class TestHeader:
    def test_spacing_and_view(self, tmp_path) -> None:
        stored = some_values(12, False)
        elements = {"ImagerPixelSpacing": ["0.2", "0.3"], "ViewPosition": "LL"}
        film = read_dicom(write(tmp_path / "a.dcm", stored, **elements))
        assert (film.spacing_mm, film.view) == ((0.2, 0.3), "LATERAL")
        film = read_dicom(write(tmp_path / "b.dcm", stored, PixelSpacing=["0.1", "0.1"], **elements))
        assert film.spacing_mm == (0.1, 0.1)

    @pytest.mark.parametrize("spacing", [["0", "0"], ["-1", "1"], "", ["1"]])
    def test_impossible_spacing_is_none(self, tmp_path, spacing) -> None:
        assert (
            read_dicom(write(tmp_path / "a.dcm", some_values(12, False), PixelSpacing=spacing)).spacing_mm
            is None
        )

    def test_the_meaning_of_a_view_code(self, tmp_path) -> None:
        code = Dataset()
        code.CodeMeaning = "postero-anterior"
        assert (
            read_dicom(write(tmp_path / "a.dcm", some_values(12, False), ViewCodeSequence=[code])).view
            == "PA"
        )

    @pytest.mark.parametrize("view", ["PA SMITH", "AP BED 4711", "CHEST OF ADA"])
    def test_a_view_that_says_more_is_none(self, tmp_path, view: str) -> None:
        assert read_dicom(write(tmp_path / "a.dcm", some_values(12, False), ViewPosition=view)).view is None
        code = Dataset()
        code.CodeMeaning = f"{view} lateral"
        film = read_dicom(write(tmp_path / "a.dcm", some_values(12, False), ViewCodeSequence=[code]))
        assert film.view is None

    @pytest.mark.parametrize("view", ["AP AXIAL", "LLD", "LAO", "LATERAL DECUB", "AP OBLIQUE"])
    def test_other_projections_keep_their_names(self, tmp_path, view: str) -> None:
        assert read_dicom(write(tmp_path / "a.dcm", some_values(12, False), ViewPosition=view)).view == view

    @pytest.mark.parametrize(
        ("written", "told", "turned"),
        [
            (["L", "F"], "L\\F", False),
            (["A", "FR"], "A\\FR", False),
            (["R", "F"], "R\\F", True),
            (["F", "L"], "F\\L", True),
            (["L", "H"], "L\\H", True),
            (["L"], None, False),
            ("", None, False),
            (["LEFT", "DOE"], None, False),
        ],
    )
    def test_the_orientation_is_told_and_changes_no_pixel(self, tmp_path, written, told, turned) -> None:
        stored = some_values(12, False)
        plain = read_dicom(write(tmp_path / "a.dcm", stored))
        film = read_dicom(write(tmp_path / "b.dcm", stored, PatientOrientation=written))
        assert film.orientation == told
        assert is_turned(told or "") == turned
        np.testing.assert_array_equal(film.pixels, plain.pixels)

    @pytest.mark.parametrize(("flag", "burned"), [("YES", True), ("NO", False), ("", False), (None, False)])
    def test_the_flag_of_burned_in_text(self, tmp_path, flag: str | None, burned: bool) -> None:
        elements = {} if flag is None else {"BurnedInAnnotation": flag}
        assert read_dicom(write(tmp_path / "a.dcm", some_values(12, False), **elements)).burned_in == burned

    def test_functional_groups_of_enhanced_objects(self, tmp_path) -> None:
        stored = some_values(12, False)
        window, spacing, groups = Dataset(), Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = "1000", "800"
        spacing.PixelSpacing = ["0.5", "0.6"]
        groups.FrameVOILUTSequence, groups.PixelMeasuresSequence = [window], [spacing]
        film = read_dicom(write(tmp_path / "a.dcm", stored, SharedFunctionalGroupsSequence=[groups]))
        plain = read_dicom(write(tmp_path / "b.dcm", stored, WindowCenter="1000", WindowWidth="800"))
        np.testing.assert_array_equal(film.pixels, plain.pixels)
        assert film.spacing_mm == (0.5, 0.6)

    def test_no_identifier_is_kept(self, tmp_path) -> None:
        header = read_header(write(tmp_path / "a.dcm", some_values(12, False)))
        assert SECRET not in str(header)

    def test_a_dataset_without_preamble(self, tmp_path) -> None:
        path = write(tmp_path / "a.dcm", some_values(12, False))
        expected = read_film(path).pixels
        dataset = dcmread(path)
        del dataset.file_meta, dataset.preamble
        buffer = BytesIO()
        dataset.save_as(buffer, implicit_vr=True, little_endian=True, enforce_file_format=False)
        path.write_bytes(buffer.getvalue())
        assert path.read_bytes()[128:132] != b"DICM"
        np.testing.assert_array_equal(read_film(path).pixels, expected)


def edited(path: Path, edit: Callable[[Dataset], None]) -> Path:
    dataset = dcmread(path)
    edit(dataset)
    dataset.save_as(path)
    return path


class TestRejections:
    @pytest.mark.parametrize(
        ("elements", "reason"),
        [
            ({"NumberOfFrames": "2"}, Reason.MULTI_FRAME),
            ({"Rows": 40_000, "Columns": 40_000}, Reason.TOO_LARGE),
            ({"Rows": 65_535}, Reason.TRUNCATED),
            ({"Rows": None}, Reason.UNREADABLE),
            ({"BitsAllocated": 13}, Reason.UNREADABLE),
            ({"SamplesPerPixel": 7}, Reason.TRUNCATED),
            ({"PhotometricInterpretation": "NONSENSE"}, Reason.UNREADABLE),
            ({"PixelData": None}, Reason.NO_PIXELS),
            ({"RescaleSlope": "0", "RescaleIntercept": "1"}, Reason.BLANK),
            ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Reason.LOCALISER),
            ({"Modality": "SEG"}, Reason.NOT_A_PICTURE),
            ({"Rows": 1}, Reason.UNREADABLE),  # 41 rows are there, which are no 41 frames
            ({"Rows": SHAPE[0] // 2}, Reason.UNREADABLE),
            ({"SOPClassUID": RTDoseStorage}, Reason.NOT_A_PICTURE),
            ({"SOPClassUID": ParametricMapStorage}, Reason.NOT_A_PICTURE),
        ],
    )
    def test_headers(self, tmp_path, elements: dict[str, Any], reason: Reason) -> None:
        path = write(tmp_path / "a.dcm", some_values(12, False))

        def edit(dataset: Dataset) -> None:
            for keyword, value in elements.items():
                setattr(dataset, keyword, value)

        assert rejection(edited(path, edit)).reason == reason

    @pytest.mark.parametrize("number", ["nan", "inf", "-1e400", "12x4"])
    @pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"])
    def test_numbers_that_are_none(self, tmp_path, keyword: str, number: str) -> None:
        window = {"RescaleSlope": "1", "RescaleIntercept": "0", "WindowCenter": "2000", "WindowWidth": "3000"}
        text = {**window, keyword: number}
        path = write(tmp_path / "a.dcm", some_values(12, False))
        path.write_bytes(with_values(path.read_bytes(), text))
        assert rejection(path).reason == Reason.UNREADABLE

    @pytest.mark.parametrize("syntax", SYNTAXES[:4], ids=lambda syntax: syntax.name)
    @pytest.mark.parametrize("more", [2, 0x34330000])
    def test_a_told_length_that_the_file_does_not_have(self, tmp_path, syntax: UID, more: int) -> None:
        """Bytes put in before the pixels shift them, and make the length another number."""
        path = write(tmp_path / "a.dcm", some_values(12, False), syntax=syntax)
        data, size = path.read_bytes(), 2 * SHAPE[0] * SHAPE[1]
        start = 144 + int.from_bytes(data[140:144], "little")
        is_deflated = syntax == DeflatedExplicitVRLittleEndian
        body = zlib.decompress(data[start:], -zlib.MAX_WBITS) if is_deflated else data[start:]
        order = "big" if syntax == ExplicitVRBigEndian else "little"
        at = body.rindex(size.to_bytes(4, order))
        body = body[:at] + (size + more).to_bytes(4, order) + body[at + 4 :]
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        path.write_bytes(data[:start] + (packer.compress(body) + packer.flush() if is_deflated else body))
        assert rejection(path).reason == Reason.TRUNCATED

    def test_one_frame_may_be_declared(self, tmp_path) -> None:
        assert (
            read_film(write(tmp_path / "a.dcm", some_values(12, False), NumberOfFrames="1")).pixels.shape
            == SHAPE
        )

    def test_no_pixel_data(self, tmp_path) -> None:
        path = write(tmp_path / "a.dcm", some_values(12, False))
        assert (
            rejection(edited(path, lambda dataset: dataset.__delitem__("PixelData"))).reason
            == Reason.NO_PIXELS
        )

    def test_an_unsupported_syntax(self, tmp_path) -> None:
        dataset = header_of(np.zeros(SHAPE), 8, False)
        dataset.PixelData = encapsulate([b"\0\0\1\xb3" * 20])
        dataset["PixelData"].VR = "OB"
        path = finish(tmp_path / "a.dcm", dataset, MPEG2MPML)
        assert rejection(path).reason == Reason.UNSUPPORTED_SYNTAX

    @pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
    @pytest.mark.parametrize("syntax", [*SYNTAXES, JPEGBaseline8Bit], ids=lambda syntax: syntax.name)
    def test_cut_off_at_any_place(self, tmp_path, syntax: UID, kept: float) -> None:
        values = np.random.default_rng(0).integers(0, 256, (60, 60))
        if syntax == JPEGBaseline8Bit:
            path = jpeg(tmp_path / "a.dcm", values.astype(np.uint8))
        else:
            path = write(tmp_path / "a.dcm", values, syntax=syntax)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * kept)])
        assert rejection(path).reason in {Reason.TRUNCATED, Reason.NO_PIXELS, Reason.UNREADABLE}

    @pytest.mark.parametrize("syntax", [*COMPRESSED, JPEGBaseline8Bit], ids=lambda syntax: syntax.name)
    def test_a_codestream_cut_off_in_a_whole_file(self, tmp_path, syntax: UID) -> None:
        values = np.random.default_rng(0).integers(0, 256, (60, 60))
        if syntax == JPEGBaseline8Bit:
            path = jpeg(tmp_path / "a.dcm", values.astype(np.uint8))
        else:
            path = write(tmp_path / "a.dcm", values, bits=8, syntax=syntax)

        def cut(dataset: Dataset) -> None:
            data = get_frame(dataset.PixelData, 0, number_of_frames=1)
            dataset.PixelData = encapsulate([data[: len(data) // 4 * 2]])

        reason = Reason.UNREADABLE if syntax == RLELossless else Reason.TRUNCATED
        assert rejection(edited(path, cut)).reason == reason

    @pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless], ids=lambda syntax: syntax.name)
    def test_a_codestream_of_another_size(self, tmp_path, syntax: UID) -> None:
        path = write(tmp_path / "a.dcm", some_values(12, False), syntax=syntax)
        assert (
            rejection(edited(path, lambda dataset: setattr(dataset, "Rows", 40))).reason == Reason.UNREADABLE
        )

    def test_a_deflated_bomb(self, tmp_path) -> None:
        path = write(tmp_path / "a.dcm", some_values(12, False), syntax=DeflatedExplicitVRLittleEndian)
        data = path.read_bytes()
        start = 144 + int.from_bytes(data[140:144], "little")
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        block = bytes(1 << 22)
        bomb = b"".join(packer.compress(block) for _ in range(100)) + packer.flush()
        path.write_bytes(data[:start] + bomb)
        assert path.stat().st_size < 1_000_000
        assert rejection(path).reason == Reason.TOO_LARGE

    def test_damage_anywhere_is_a_film_or_a_reason(self, tmp_path, caplog, capfd) -> None:
        """Random bytes changed in header and pixels; libraries may neither speak nor raise."""
        generator = np.random.default_rng(1)
        path, outcomes = tmp_path / "a.dcm", set()
        for syntax in SYNTAXES:
            good = write(path, some_values(12, False), syntax=syntax).read_bytes()
            for _ in range(60):
                data = np.frombuffer(good, np.uint8).copy()
                places = generator.integers(132, data.size, generator.integers(1, 8))
                data[places] = generator.integers(0, 256, places.size)
                path.write_bytes(data.tobytes())
                outcomes.add(assert_film_or_reason(path))
        assert outcomes >= {"film", Reason.UNREADABLE}
        assert not caplog.records
        assert capfd.readouterr() == ("", "")


def test_logging_is_as_before(tmp_path) -> None:
    logger = logging.getLogger("pydicom")
    before = logger.propagate, list(logger.handlers)
    read_film(write(tmp_path / "a.dcm", some_values(12, False)))
    assert (logger.propagate, list(logger.handlers)) == before
