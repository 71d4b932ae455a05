import io

import numpy as np
import pytest
from PIL import Image

from mmil_cli.viz.sheet import film_row

DARK, BRIGHT = np.full((60, 40), 20, np.uint8), np.full((30, 50), 220, np.uint8)


def picture(*films: np.ndarray, names: tuple[str, ...] | None = None) -> np.ndarray:
    png = film_row(films, names or tuple("abcdef"[: len(films)]))
    return np.asarray(Image.open(io.BytesIO(png)).convert("L")).astype(int)


def test_films_stand_side_by_side_in_their_own_grey() -> None:
    drawn = picture(DARK, BRIGHT)
    height, width = drawn.shape
    assert abs(drawn[height // 2, width // 4] - 20) < 4
    assert abs(drawn[height // 2, 3 * width // 4] - 220) < 4


@pytest.mark.parametrize("number", [1, 4, 6])
def test_a_row_grows_by_one_panel_a_film(number: int) -> None:
    one, row = picture(DARK), picture(*[DARK] * number)
    assert row.shape[0] == one.shape[0]
    assert row.shape[1] == pytest.approx(one.shape[1] + (number - 1) * 303, abs=number)


def test_the_same_films_give_the_same_bytes_and_names_of_any_kind_are_drawn() -> None:
    names = ("$x$ " + "long " * 20, "\N{CJK UNIFIED IDEOGRAPH-4E2D}")
    assert film_row((DARK, BRIGHT), names) == film_row((DARK, BRIGHT), names)
    assert (picture(DARK, BRIGHT, names=names) != picture(DARK, BRIGHT, names=("a", "b"))).any()
