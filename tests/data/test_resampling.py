"""Shrinking against a slow sum in float64, and against Pillow's own."""

import math

import numpy as np
import pytest
from PIL import Image

from mmil_cli.data.resampling import shrink

SIZES = [
    ((60, 45), (20, 15)),
    ((61, 47), (13, 46)),
    ((50, 40), (50, 40)),
    ((33, 8), (1, 1)),
    ((9, 1), (4, 1)),
]


def slowly(line: np.ndarray, after: int) -> list[float]:
    """One line, pixel by pixel in float64: the kernel of Pillow's HAMMING filter, from its definition."""
    scale = line.size / after
    shrunk = []
    for number in range(after):
        centre, total, weight = (number + 0.5) * scale, 0.0, 0.0
        for place, value in enumerate(line):
            distance = abs(place + 0.5 - centre) / scale
            if distance < 1:
                sinc = 1.0 if distance == 0 else math.sin(math.pi * distance) / (math.pi * distance)
                share = sinc * (0.54 + 0.46 * math.cos(math.pi * distance))
                total, weight = total + share * float(value), weight + share
        shrunk.append(total / weight)
    return shrunk


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_it_is_the_slow_sum(before: tuple[int, int], after: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).random(before, dtype=np.float32)
    columns = np.array([slowly(column, after[0]) for column in pixels.astype(np.float64).T]).T
    expected = np.array([slowly(row, after[1]) for row in columns])
    found = shrink(pixels, height=after[0], width=after[1])
    assert found.dtype == np.float32
    assert found.shape == after
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-7)


def test_it_is_what_pillow_makes() -> None:
    pixels = np.random.default_rng(1).random((300, 211), dtype=np.float32)
    expected = Image.fromarray(pixels).resize((45, 64), Image.Resampling.HAMMING)
    np.testing.assert_allclose(shrink(pixels, height=64, width=45), np.asarray(expected), rtol=0, atol=5e-7)


def test_a_flat_film_stays_as_it_is() -> None:
    flat = np.full((301, 97), 0.7, dtype=np.float32)
    np.testing.assert_allclose(shrink(flat, height=64, width=20), 0.7, rtol=0, atol=2e-7)
