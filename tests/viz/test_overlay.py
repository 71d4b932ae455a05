import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from mmil_cli.viz.layers import similarity_scale
from mmil_cli.viz.layout import layout_for
from mmil_cli.viz.overlay import PhraseMap, overlay_figure

FILM = np.tile(np.linspace(40, 200, 60, dtype=np.uint8), (80, 1))


def bump(*, unseen: bool = False, height: float = 0.5) -> np.ndarray:
    rows, columns = np.indices(FILM.shape)
    values = height * np.exp(-((rows - 50) ** 2 + (columns - 20) ** 2) / 200)
    if unseen:
        values[:15] = np.nan
    return values


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def panel(png: bytes, index: int, num_panels: int) -> np.ndarray:
    """The pixels of one panel."""
    picture = pixels(png)
    left, bottom, width, height = layout_for(num_panels, aspect=80 / 60).panel(index)
    rows, columns = picture.shape[:2]
    top = 1 - bottom - height
    return picture[
        round(top * rows) : round((top + height) * rows),
        round(left * columns) : round((left + width) * columns),
    ]


def at(picture: np.ndarray, x: float, y: float) -> np.ndarray:
    """The colour at a film pixel."""
    return picture[int(y / 80 * len(picture)), int(x / 60 * picture.shape[1])]


def colourfulness(colour: np.ndarray) -> int:
    return int(colour.max() - colour.min())


def draw(**fields: object) -> np.ndarray:
    item = PhraseMap("pleural effusion", **{"values": bump(), "score": 0.4, **fields})  # type: ignore[arg-type]
    return panel(overlay_figure(FILM, [item]), 1, 2)


def test_heat_lies_where_the_map_is_high_and_leaves_the_film_elsewhere() -> None:
    film = panel(overlay_figure(FILM, [PhraseMap("x", bump(), 0.4)]), 0, 2)
    heated = draw()
    assert colourfulness(at(heated, 20, 50)) > 80
    for x, y in ((50, 10), (55, 75)):
        assert colourfulness(at(heated, x, y)) <= 3
        assert at(heated, x, y) == pytest.approx(at(film, x, y), abs=3)
    assert max(colourfulness(at(film, x, y)) for x in (5, 20, 50) for y in (5, 50)) <= 3


def test_what_was_not_seen_is_veiled_and_has_no_heat() -> None:
    seen, veiled = draw(), draw(values=bump(unseen=True))
    assert at(veiled, 50, 5).mean() < at(seen, 50, 5).mean() - 20
    assert at(veiled, 50, 40) == pytest.approx(at(seen, 50, 40), abs=3)


def test_boxes_of_model_and_annotator_look_different_and_stand_where_they_should() -> None:
    box = (38.0, 4.0, 12.0, 24.0)
    true, found, plain = draw(true_boxes=[box]), draw(boxes=[box]), draw()
    rows, columns = (np.abs(true - plain).sum(axis=2) > 60).nonzero()
    scale = len(true) / 80
    assert (rows.min() / scale, rows.max() / scale) == pytest.approx((4, 28), abs=1)
    assert (columns.min() / scale, columns.max() / scale) == pytest.approx((38, 50), abs=1)
    band = slice(round(37 * scale), round(39 * scale)), slice(round(6 * scale), round(26 * scale))
    green = (true[band[1], band[0]].max(axis=2) - true[band[1], band[0]].min(axis=2)).max(axis=1) > 80
    white = found[band[1], band[0]].min(axis=2).max(axis=1) > 220
    assert green.all()
    assert 0.3 < white.mean() < 0.9


def test_peak_is_drawn_at_its_pixel() -> None:
    changed = np.abs(draw(peak=(45.0, 20.0)) - draw()).sum(axis=2) > 60
    rows, columns = changed.nonzero()
    scale = changed.shape[0] / 80
    assert rows.mean() / scale == pytest.approx(20, abs=0.5)
    assert columns.mean() / scale == pytest.approx(45, abs=0.5)


def test_panels_share_one_scale_so_that_a_weak_phrase_stays_pale() -> None:
    maps = [PhraseMap("strong", bump(), 0.5), PhraseMap("weak", bump(height=0.08), 0.1)]
    png = overlay_figure(FILM, maps)
    assert colourfulness(at(panel(png, 1, 3), 20, 50)) > 80
    assert colourfulness(at(panel(png, 2, 3), 20, 50)) < 20


def test_scale_spans_the_maps_and_stands_a_constant_or_unseen_one() -> None:
    low, high = similarity_scale([bump(), bump(height=0.9)]).get_clim()
    assert high == pytest.approx(0.9)
    assert low == pytest.approx(0.0, abs=0.05)
    for values in (np.full(FILM.shape, 0.3), np.full(FILM.shape, np.nan)):
        low, high = similarity_scale([values]).get_clim()
        assert high > low
        overlay_figure(FILM, [PhraseMap("x", values, 0.3)])


def test_the_same_input_gives_the_same_bytes_without_date_or_program() -> None:
    maps = [
        PhraseMap("pleural effusion", bump(unseen=True), 0.4, (20.5, 50.5), [(1, 2, 3, 4)], [(5, 5, 9, 9)])
    ]
    first = overlay_figure(FILM, maps, title="film")
    assert first == overlay_figure(FILM, maps, title="film")
    assert set(Image.open(io.BytesIO(first)).info) <= {"dpi"}


@pytest.mark.parametrize("phrase", ["costs $5 and $6", r"$\undefined$", "胸水 🫁", "word " * 60, "a_b^c {%}"])
def test_any_phrase_can_be_drawn(phrase: str) -> None:
    assert overlay_figure(FILM, [PhraseMap(phrase, bump(), 0.4)], title=phrase)


def test_settings_of_the_process_stay_as_they_are() -> None:
    before = dict(matplotlib.rcParams)
    overlay_figure(FILM, [PhraseMap("x", bump(), 0.4)])
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("shape", [(40, 400), (400, 40), (3000, 2500)])
def test_films_of_any_shape(shape: tuple[int, int]) -> None:
    film = np.full(shape, 90, np.uint8)
    values = np.linspace(0, 1, shape[0])[:, None] * np.ones(shape)
    picture = Image.open(io.BytesIO(overlay_figure(film, [PhraseMap("x", values, 0.4)])))
    assert max(picture.size) < 3000


def test_many_phrases_go_on_in_further_rows() -> None:
    maps = [PhraseMap(f"phrase {i}", bump(), 0.4) for i in range(6)]
    layout = layout_for(7, aspect=80 / 60)
    places = [layout.panel(i) for i in range(7)]
    assert len({place[1] for place in places}) == 2
    assert all(0 <= edge <= 1 for place in places for edge in (place[0] + place[2], place[1] + place[3]))
    assert overlay_figure(FILM, maps)
