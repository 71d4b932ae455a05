"""The stored film comes back."""

import numpy as np
import pytest

from mmil_cli.data.pixels import DEFAULT_ENCODING, Encoding, decode, encode
from mmil_cli.errors import DataError


def film(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    smooth = 120 + 60 * np.sin(x / 17) + 50 * np.cos(y / 23)
    return np.clip(smooth + np.random.default_rng(0).normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("encoding", [Encoding.RAW, Encoding.PNG])
@pytest.mark.parametrize("shape", [(64, 48), (1, 7), (7, 1), (33, 200)])
def test_lossless(encoding: Encoding, shape: tuple[int, int]) -> None:
    pixels = film(*shape)
    back = decode(encode(pixels, encoding), encoding=encoding, height=shape[0], width=shape[1])
    np.testing.assert_array_equal(back, pixels)


def test_jpeg_is_close_and_smaller() -> None:
    pixels = film(256, 200)
    data = encode(pixels, Encoding.JPEG)
    back = decode(data, encoding=Encoding.JPEG, height=256, width=200)
    assert np.abs(back.astype(int) - pixels).max() <= 12
    assert len(data) < len(encode(pixels, Encoding.PNG)) < len(encode(pixels, Encoding.RAW))


@pytest.mark.parametrize("encoding", list(Encoding))
def test_the_array_is_writeable_and_its_own(encoding: Encoding) -> None:
    data = encode(film(16, 16), encoding)
    first = decode(data, encoding=encoding, height=16, width=16)
    first[:] = 0
    assert decode(data, encoding=encoding, height=16, width=16).any()
    assert first.dtype == np.uint8


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_view_that_is_not_contiguous(encoding: Encoding) -> None:
    pixels = film(40, 40)[::2, ::-1]
    back = decode(encode(pixels, encoding), encoding=encoding, height=20, width=40)
    assert np.abs(back.astype(int) - pixels).mean() < 5


@pytest.mark.parametrize("encoding", list(Encoding))
def test_another_size_than_declared_is_refused(encoding: Encoding) -> None:
    with pytest.raises(DataError, match="20 x 17 is declared"):
        decode(encode(film(16, 20), encoding), encoding=encoding, height=20, width=17)


@pytest.mark.parametrize("encoding", [Encoding.PNG, Encoding.JPEG])
@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: b"nonsense", lambda data: data[: len(data) // 2]]
)
def test_damage_is_refused(encoding: Encoding, damage) -> None:
    data = damage(encode(film(64, 64), encoding))
    with pytest.raises(DataError, match="damaged"):
        decode(data, encoding=encoding, height=64, width=64)


def test_names_work_as_encodings() -> None:
    pixels = film(16, 16)
    assert encode(pixels, "raw") == pixels.tobytes()
    assert DEFAULT_ENCODING == "png"
