import base64
import hashlib
import io
import re

import numpy as np
import pytest
from PIL import Image

NASTY = "<script>alert('x')</script>\"><img src=x onerror=alert(1)> & 'quoted'"


def film(phrase: str = "a square"):
    from mmil_cli.viz.grounded import FilmPhrase, GroundedFilm
    from mmil_cli.viz.map_levels import map_levels

    buffer = io.BytesIO()
    Image.new("L", (40, 30)).save(buffer, "PNG")
    levels = map_levels(np.linspace(0, 1, 12).reshape(3, 4), low=0.0, high=1.0)
    return GroundedFilm(
        name=phrase,
        png=buffer.getvalue(),
        width=40,
        height=30,
        phrases=[FilmPhrase(phrase, phrase, levels, [(1, 2, 3, 4)]), FilmPhrase("other", "", levels)],
        caption=phrase,
        low=-0.5,
        high=0.5,
    )


def test_levels_are_shares_of_the_scale_and_what_was_not_seen_has_its_own():
    from mmil_cli.viz.map_levels import TOP, UNSEEN, map_levels

    values = np.array([[-5.0, 1.0, 2.0], [3.0, 9.0, np.nan]])
    found = map_levels(values, low=1.0, high=3.0)
    assert (found.width, found.height) == (3, 2)
    assert list(found.levels) == [0, 0, TOP // 2, TOP, TOP, UNSEEN]
    assert base64.b64decode(found.text()) == found.levels


@pytest.mark.parametrize(
    ("height", "width", "wanted"), [(320, 160, (160, 80)), (50, 20, (50, 20)), (2000, 3, (160, 1))]
)
def test_a_map_has_the_films_shape_and_no_more_pixels_than_are_seen(height, width, wanted):
    from mmil_cli.viz.map_levels import map_size

    assert map_size(height, width) == wanted


def test_every_word_of_a_panel_is_escaped():
    from mmil_cli.viz.grounded import grounded_film

    text = grounded_film(film(NASTY))
    assert "<script" not in text
    assert "onerror" not in re.sub(r"&lt;img src=x onerror=alert\(1\)&gt;", "", text)
    assert text.count("<img") == 1


def test_a_page_lets_only_its_own_script_run_and_has_none_without_a_film():
    from mmil_cli.viz.page import Page, Paragraph, render

    text = render(Page("t", [film(), Paragraph(NASTY)]))
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "unsafe-inline'; script" in text
    plain = render(Page("t", [Paragraph(NASTY)]))
    assert "<script" not in plain
    assert "script-src" not in plain


def test_nothing_of_a_page_comes_from_elsewhere():
    from mmil_cli.viz.page import Page, render
    from mmil_cli.viz.viewer_page import viewer_page

    for text in (render(Page("t", [film()])), viewer_page(splits=["test"], low=0, high=1).html):
        assert not re.search(r"(src|href|url)\s*[=(]\s*['\"]?(https?:)?//", text)


def test_a_splits_name_cannot_end_the_viewers_script():
    from mmil_cli.viz.viewer_page import viewer_page

    page = viewer_page(splits=["</script><script>alert(1)</script>"], low=0, high=1)
    assert page.html.count("<script>") == 1
    assert page.html.count("</script>") == 1
    (script,) = re.findall(r"<script>(.*?)</script>", page.html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.policy
