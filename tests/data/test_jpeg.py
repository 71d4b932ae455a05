"""Damaged JPEG is refused, whole JPEG has the values that Pillow gives."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from dicom_files import edited_frame, jpeg, rejection
from PIL import Image

from mmil_cli.data.images import read_film
from mmil_cli.data.jpeg import Colours, DamagedJpeg, decode_jpeg
from mmil_cli.data.reasons import Reason

MODES = ("L", "RGB", "CMYK")


def picture(mode: str, **options: object) -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    large = Image.fromarray(values).resize((61, 45), Image.Resampling.BICUBIC)
    buffer = BytesIO()
    large.convert(mode).save(buffer, "jpeg", quality=90, **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.array(Image.open(BytesIO(data)).convert("L")) / 255.0


def torn_table(data: bytes) -> bytes:
    """A byte put into a Huffman table: libjpeg looks for the next marker and goes on."""
    at = data.rindex(b"\xff\xc4") + 60
    return data[:at] + b"\x11\x22" + data[at:]


def lost_tail(data: bytes) -> bytes:
    """The last third of the coded data gone, and the end marker there."""
    at = len(data) - (len(data) - data.index(b"\xff\xda")) // 3
    return data[:at] + b"\xff\xd9"


def more_data(data: bytes) -> bytes:
    return data[:-2] + b"\x12\x34\x56" * 20 + b"\xff\xd9"


def second_scan(data: bytes) -> bytes:
    """The head of the coded data once more within it: what was decoded up to there would be taken."""
    at = data.index(b"\xff\xda")
    return data[: at + 200] + data[at:]


DAMAGES = (torn_table, lost_tail, more_data)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_whole_files_are_as_pillow_has_them(tmp_path: Path, mode: str, options: dict[str, object]) -> None:
    path = tmp_path / "film.jpg"
    path.write_bytes(picture(mode, **options))
    np.testing.assert_allclose(read_film(path).pixels, by_pillow(path.read_bytes()), atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_file_is_set_upright(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "film.jpg"
    path.write_bytes(picture("L", exif=exif))
    expected = np.array(ImageOps.exif_transpose(Image.open(path))) / 255.0
    np.testing.assert_allclose(read_film(path).pixels, expected, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_that_pillow_paints_over_is_refused(tmp_path: Path, mode: str, damage) -> None:
    path = tmp_path / "film.jpg"
    path.write_bytes(damage(picture(mode)))
    assert by_pillow(path.read_bytes()).shape == (45, 61)
    assert rejection(path).reason == Reason.UNREADABLE


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_so_it_is_within_dicom(tmp_path: Path, mode: str, damage) -> None:
    values = np.array(Image.open(BytesIO(picture(mode))))
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422", "PlanarConfiguration": 0}
    path = jpeg(tmp_path / "film.dcm", values, **(colour if mode == "RGB" else {}))
    expected = np.array(Image.open(BytesIO(by_frame(path))).convert("L")) / 255.0
    np.testing.assert_allclose(read_film(path).pixels, expected, atol=3 / 255)
    assert rejection(edited_frame(path, damage)).reason == Reason.UNREADABLE


def test_a_second_scan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    path.write_bytes(second_scan(picture("L")))
    assert rejection(path).reason == Reason.UNREADABLE


def test_a_sampling_that_only_pillow_knows(tmp_path: Path) -> None:
    data = picture("RGB", subsampling=0)
    at = data.index(b"\xff\xc0") + 11  # of the first component
    odd = bytearray(data)
    odd[at : at + 9 : 3] = b"\x31\x11\x11"
    path = tmp_path / "film.jpg"
    path.write_bytes(odd)
    assert decode_jpeg(bytes(odd), colours="RGB") is None
    np.testing.assert_allclose(read_film(path).pixels, by_pillow(bytes(odd)), atol=1e-6)


def test_a_factor_for_one_component_changes_nothing(tmp_path: Path) -> None:
    data = picture("L")
    at = data.index(b"\xff\xc0") + 11
    path = tmp_path / "film.jpg"
    path.write_bytes(data[:at] + b"\x22" + data[at + 1 :])
    np.testing.assert_allclose(read_film(path).pixels, by_pillow(data), atol=1e-6)


def by_frame(path: Path) -> bytes:
    from pydicom import dcmread
    from pydicom.encaps import get_frame

    return get_frame(dcmread(path).PixelData, 0, number_of_frames=1)


def other_coefficients(data: bytes) -> bytes:
    """A baseline scan that says it has the first coefficient only: it has all, whatever it says."""
    at = data.index(b"\xff\xda")
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
    return data[: end - 3] + b"\0\0\0" + data[end:]


def later_jfif(data: bytes) -> bytes:
    at = data.index(b"JFIF\0") + 5
    return data[:at] + b"\x02" + data[at + 1 :]


def torn_profile(data: bytes) -> bytes:
    return data[:20] + b"\xff\xe2\0\x10ICC_PROFILE\0\1\1" + data[20:]


def no_end(data: bytes) -> bytes:
    return data[:-2]


def half_an_end(data: bytes) -> bytes:
    return data[:-1]


def padded(data: bytes) -> bytes:
    """More than the decoder looks ahead."""
    return data[:-2] + bytes(20) + data[-2:]


HARMLESS = (other_coefficients, later_jfif, torn_profile, no_end, half_an_end, padded)


@pytest.mark.parametrize(("mode", "colours"), [("L", "GRAY"), ("RGB", "RGB")])
@pytest.mark.parametrize("fault", HARMLESS)
def test_what_loses_no_pixel_is_taken(mode: str, colours: Colours, fault) -> None:
    whole, faulty = picture(mode), fault(picture(mode))
    with pytest.raises(ValueError):
        simplejpeg.decode_jpeg(faulty, colorspace=colours)
    np.testing.assert_array_equal(decode_jpeg(faulty, colours=colours), decode_jpeg(whole, colours=colours))


@pytest.mark.parametrize("fault", HARMLESS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_behind_what_is_mended(fault, damage) -> None:
    with pytest.raises(DamagedJpeg):
        decode_jpeg(fault(damage(picture("L"))), colours="GRAY")


@pytest.mark.parametrize("lost", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("fill", [b"", b"\xff\xd9", b"\xff"])
def test_coded_data_that_is_cut_off_is_refused(lost: int, fill: bytes) -> None:
    with pytest.raises(DamagedJpeg):
        decode_jpeg(picture("L")[: -2 - lost] + fill, colours="GRAY")


@pytest.mark.parametrize("lost", range(3, 800, 31))
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_tail_of_zeros_is_refused(lost: int, end: bytes) -> None:
    """A block that a disk lost: zeros are code words too, and are padding only where no pixel used any."""
    data = picture("L")
    for more in (0, 1, 700):
        with pytest.raises(DamagedJpeg):
            decode_jpeg(data[:-lost] + bytes(lost + more) + end, colours="GRAY")


@pytest.mark.parametrize("fault", [no_end, half_an_end])
def test_a_progressive_file_may_lack_its_last_scans(fault) -> None:
    with pytest.raises(DamagedJpeg):
        decode_jpeg(fault(picture("L", progressive=True)), colours="GRAY")


@pytest.mark.parametrize("data", [b"\xff\xd8\xff", b"no JPEG", picture("L")[:300]])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(DamagedJpeg):
        decode_jpeg(data, colours="GRAY")
