"""PNG and JPEG files as films, resizing, and files that are no films."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmil_cli.data.geometry import Affine
from mmil_cli.data.images import Film, normalise_view, read_film, resize_film
from mmil_cli.data.reasons import Reason
from mmil_cli.errors import RejectedRecord


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    return np.linspace(0, 255, height * width).astype(np.uint8).reshape(height, width)


def save(tmp_path: Path, image: Image.Image, name: str = "film.png", **options) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def rejection(path: Path) -> RejectedRecord:
    with pytest.raises(RejectedRecord) as caught:
        read_film(path)
    text = str(caught.value)
    assert text.startswith(path.name + " ")
    assert "\n" not in text
    return caught.value


@pytest.mark.parametrize("place", [-20, -30, -200])
def test_a_byte_changed_in_a_png_is_seen(tmp_path: Path, place: int) -> None:
    """At the end of the pixels Pillow looks at no sum of any kind."""
    path = save(tmp_path, Image.fromarray(gradient()))
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(RejectedRecord) as caught:
        read_film(path)
    assert caught.value.reason == Reason.UNREADABLE


def test_bytes_behind_a_png_are_not_its_own(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(gradient()))
    before = read_film(path).pixels
    path.write_bytes(path.read_bytes() + b"anything")
    np.testing.assert_array_equal(read_film(path).pixels, before)


class TestReading:
    def test_8_bit_values_are_taken_as_they_are(self, tmp_path: Path) -> None:
        values = gradient() // 2 + 20  # neither black nor white: must not be stretched
        film = read_film(save(tmp_path, Image.fromarray(values)))
        assert film.pixels.dtype == np.float32
        assert (film.spacing_mm, film.view) == (None, None)
        np.testing.assert_allclose(film.pixels, values / 255.0, atol=1e-7)

    def test_jpeg(self, tmp_path: Path) -> None:
        film = read_film(save(tmp_path, Image.fromarray(gradient()), "film.jpg", quality=95))
        np.testing.assert_allclose(film.pixels, gradient() / 255.0, atol=8 / 255)

    def test_content_and_not_the_name_decides(self, tmp_path: Path) -> None:
        path = save(tmp_path, Image.fromarray(gradient()), "film.dcm", format="png")
        assert read_film(path).pixels.shape == (40, 60)

    @pytest.mark.parametrize("top", [4095, 65535])
    def test_16_bit_values_are_stretched_between_percentiles(self, tmp_path: Path, top: int) -> None:
        values = np.linspace(top // 4, top, 5000).astype(np.uint16).reshape(50, 100)
        values[0, 0], values[0, 1] = 0, 65535  # a dead and a hot pixel
        film = read_film(save(tmp_path, Image.fromarray(values)))
        low, high = np.percentile(values, [0.5, 99.5])
        np.testing.assert_allclose(film.pixels, np.clip((values - low) / (high - low), 0, 1), atol=1e-3)

    def test_colour_is_its_luma(self, tmp_path: Path) -> None:
        rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
        film = read_film(save(tmp_path, Image.fromarray(rgb)))
        np.testing.assert_allclose(film.pixels, rgb @ [0.299, 0.587, 0.114] / 255, atol=1 / 255)

    def test_transparency_is_over_black(self, tmp_path: Path) -> None:
        rgba = np.full((10, 10, 4), 200, dtype=np.uint8)
        rgba[..., 3] = np.linspace(0, 255, 10).astype(np.uint8)
        film = read_film(save(tmp_path, Image.fromarray(rgba)))
        expected = np.tile(200.0 * rgba[0, :, 3] / 255 / 255, (10, 1))
        np.testing.assert_allclose(film.pixels, expected, atol=1.5 / 255)

    def test_palette_and_bilevel(self, tmp_path: Path) -> None:
        picture = Image.fromarray(gradient())
        palette = read_film(save(tmp_path, picture.convert("P"), "palette.png"))
        np.testing.assert_allclose(palette.pixels, gradient() / 255.0, atol=1 / 255)
        bilevel = read_film(save(tmp_path, picture.convert("1"), "bilevel.png"))
        assert set(np.unique(bilevel.pixels)) == {0.0, 1.0}

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_applied(self, tmp_path: Path, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(tmp_path, Image.fromarray(gradient()), "film.jpg", exif=exif, quality=95)
        turned = {
            1: gradient(), 2: gradient()[:, ::-1], 3: gradient()[::-1, ::-1], 4: gradient()[::-1],
            5: gradient().T, 6: gradient().T[:, ::-1], 7: gradient().T[::-1, ::-1], 8: gradient().T[::-1],
        }[orientation]  # fmt: skip
        np.testing.assert_allclose(read_film(path).pixels, turned / 255.0, atol=8 / 255)


class TestNoFilms:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", Reason.EMPTY_FILE),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", Reason.LFS_POINTER),
            (b"FINDINGS: none\n" * 30, Reason.NOT_AN_IMAGE),
            (b"\0" * 4096, Reason.NOT_AN_IMAGE),
            (b"II*\0" + b"\0" * 400, Reason.NOT_AN_IMAGE),
            (b"\x89PNG\r\n\x1a\n" + b"junk" * 50, Reason.UNREADABLE),
            (b"\xff\xd8\xff\xe0" + b"junk" * 50, Reason.UNREADABLE),
            (b"\0" * 128 + b"DICM", Reason.NO_PIXELS),
            (b"\0" * 128 + b"DICM" + b"junk" * 100, Reason.NO_PIXELS),
        ],
    )
    def test_content(self, tmp_path: Path, content: bytes, reason: Reason) -> None:
        path = tmp_path / "film.dcm"
        path.write_bytes(content)
        assert rejection(path).reason == reason

    def test_no_file_and_a_folder(self, tmp_path: Path) -> None:
        assert rejection(tmp_path / "none.png").reason == Reason.MISSING_FILE
        assert rejection(tmp_path).reason == Reason.UNREADABLE

    @pytest.mark.parametrize("name", ["film.png", "film.jpg"])
    def test_cut_off(self, tmp_path: Path, name: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (200, 200)).astype(np.uint8)
        path = save(tmp_path, Image.fromarray(noise), name)
        path.write_bytes(path.read_bytes()[:9000])
        assert rejection(path).reason == Reason.TRUNCATED

    def test_a_damaged_byte(self, tmp_path: Path) -> None:
        path = save(tmp_path, Image.fromarray(gradient()))
        data = bytearray(path.read_bytes())
        data[data.index(b"IDAT") + 20] ^= 0xFF
        path.write_bytes(data)
        assert rejection(path).reason == Reason.UNREADABLE

    @pytest.mark.parametrize("side", [10_001, 20_000, 2**31 - 1])
    def test_a_bomb_is_refused_by_its_declared_size(self, tmp_path: Path, side: int) -> None:
        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        path = tmp_path / "bomb.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))))
        assert rejection(path).reason == Reason.TOO_LARGE

    @pytest.mark.parametrize("level", [0, 77, 255])
    def test_blank(self, tmp_path: Path, level: int) -> None:
        path = save(tmp_path, Image.new("L", (50, 50), level))
        assert rejection(path).reason == Reason.BLANK

    def test_one_differing_row_is_not_blank(self, tmp_path: Path) -> None:
        values = np.zeros((50, 50), dtype=np.uint8)
        values[13] = 255
        assert read_film(save(tmp_path, Image.fromarray(values))).pixels.max() == 1.0


class TestResizing:
    @pytest.mark.parametrize(
        ("shape", "side", "expected"),
        [
            ((3000, 2500), 512, (512, 427)),
            ((100, 300), 30, (10, 30)),
            ((1, 4000), 100, (1, 100)),
            ((77, 50), 77, (77, 50)),
        ],
    )
    def test_long_side_and_aspect(self, shape, side: int, expected) -> None:
        stored = resize_film(Film(np.full(shape, 0.503, dtype=np.float32)), side=side)
        assert stored.pixels.shape == expected
        assert stored.pixels.dtype == np.uint8
        assert set(np.unique(stored.pixels)) == {128}
        corner = stored.to_source.point(expected[1], expected[0])
        assert corner == pytest.approx((shape[1], shape[0]))

    def test_never_enlarges(self) -> None:
        pixels = gradient() / np.float32(255)
        stored = resize_film(Film(pixels), side=4000)
        np.testing.assert_array_equal(stored.pixels, gradient())
        assert stored.to_source == Affine()

    @pytest.mark.parametrize("side", [64, 101, 333])
    def test_a_known_square_survives(self, side: int) -> None:
        pixels = np.zeros((1000, 750), dtype=np.float32)
        left, top, width, height = 300, 200, 240, 360
        pixels[top : top + height, left : left + width] = 1.0
        stored = resize_film(Film(pixels), side=side)
        mass = stored.pixels / 255.0
        columns, rows = np.arange(mass.shape[1]) + 0.5, np.arange(mass.shape[0]) + 0.5
        centre = (float(mass.sum(0) @ columns / mass.sum()), float(mass.sum(1) @ rows / mass.sum()))
        assert stored.to_source.point(*centre) == pytest.approx((left + width / 2, top + height / 2), abs=0.5)
        area = mass.sum() * stored.to_source.scale_x * stored.to_source.scale_y
        assert area == pytest.approx(width * height, rel=0.01)
        x, y, w, h = stored.to_source.inverse().box((left, top, width, height))
        inside = mass[int(y + 2) : int(y + h - 1), int(x + 2) : int(x + w - 1)]
        assert inside.min() > 0.99

    def test_is_antialiased(self) -> None:
        """One-pixel stripes become grey; without antialiasing they would stay black and white."""
        stripes = np.zeros((400, 400), dtype=np.float32)
        stripes[:, ::2] = 1.0
        stored = resize_film(Film(stripes), side=100).pixels
        assert np.abs(stored[:, 2:-2].astype(int) - 127.5).max() <= 1

    def test_does_not_ring(self) -> None:
        edge = np.full((600, 600), 0.25, dtype=np.float32)
        edge[:, 300:] = 0.75
        stored = resize_film(Film(edge), side=90).pixels
        assert (stored.min(), stored.max()) == (64, 191)

    def test_quantised_to_within_half_a_level(self) -> None:
        pixels = np.random.default_rng(0).random((50, 60), dtype=np.float32)
        stored = resize_film(Film(pixels), side=60).pixels
        assert np.abs(stored / 255.0 - pixels).max() <= 0.5 / 255 + 1e-6

    def test_values_outside_the_range_are_clipped(self) -> None:
        pixels = np.array([[-0.5, 0.0], [1.0, 1.5]], dtype=np.float32)
        np.testing.assert_array_equal(resize_film(Film(pixels), side=2).pixels, [[0, 0], [255, 255]])


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("PA", "PA"), ("pa", "PA"), ("POSTERO-ANTERIOR", "PA"), ("postero-anterior", "PA"), (" AP ", "AP"),
        ("antero-posterior", "AP"), ("LL", "LATERAL"), ("LATERAL", "LATERAL"), ("Lat", "LATERAL"),
        ("left lateral", "LATERAL"), ("L LATERAL", "LATERAL"), ("AP LLD", "AP LLD"),
        ("AP  axial", "AP AXIAL"), ("LAO", "LAO"), ("swimmers", "SWIMMERS"), ("", None),
        ("  ", None), (None, None),
    ],
)  # fmt: skip
def test_views(text: str | None, view: str | None) -> None:
    assert normalise_view(text) == view


def test_real_jpegs(shared_data: Path) -> None:
    paths = (
        sorted((shared_data / "nih_cxr14").rglob("*.jpg"))[:5]
        + sorted((shared_data / "covid_cxr").rglob("*.jpg"))[:5]
    )
    assert paths
    for path in paths:
        film = read_film(path)
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            np.testing.assert_allclose(film.pixels, np.asarray(image.convert("L")) / 255.0, atol=1e-6)
