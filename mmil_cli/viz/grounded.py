"""A film in a page with the map of one phrase at a time over it, and sliders for how it is shown."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from mmil_cli.viz.canvas import Box
from mmil_cli.viz.map_levels import MapLevels, colour_table, gradient

OPACITY, THRESHOLD = 75, 25
"""Where the sliders stand first, in per cent: the look of the printed overlays."""


@dataclass(frozen=True)
class FilmPhrase:
    """A phrase, what is said of it, its map, and boxes in pixels of the film."""

    phrase: str
    detail: str
    map: MapLevels
    boxes: Sequence[Box] = ()


@dataclass(frozen=True)
class GroundedFilm:
    """A film as PNG of `width` x `height` pixels and at least one phrase; all maps have one scale of colours.

    `name` tells this panel's controls from others of the page; `low` and `high` are the ends of the scale.
    """

    name: str
    png: bytes
    width: int
    height: int
    phrases: Sequence[FilmPhrase]
    caption: str
    low: float
    high: float


@cache
def film_script() -> str:
    """What draws maps in a page; the same for a report and the viewer."""
    return f'const COLOURS = "{colour_table()}";\n{asset("film.js")}'


def asset(name: str) -> str:
    """A file of the page that is no Python."""
    return files("mmil_cli.viz").joinpath("assets", name).read_text(encoding="utf-8")


def grounded_film(film: GroundedFilm) -> str:
    """The panel as HTML; every word of it is escaped."""
    name = html.escape(film.name)
    phrases = "\n".join(_phrase(name, number, phrase) for number, phrase in enumerate(film.phrases))
    boxes = "".join(_boxes(number, phrase) for number, phrase in enumerate(film.phrases))
    data = base64.b64encode(film.png).decode("ascii")
    caption = html.escape(film.caption)
    return f"""<figure class="grounded">
<div class="panel"><div class="stage" style="aspect-ratio: {film.width} / {film.height}">
<img src="data:image/png;base64,{data}" alt="{caption}" width="{film.width}" height="{film.height}">
<canvas aria-hidden="true"></canvas>
<svg viewBox="0 0 {film.width} {film.height}" aria-hidden="true">{boxes}</svg></div>
<div class="controls"><fieldset><legend>Phrase</legend>
{phrases}
</fieldset>
{sliders()}
{colour_scale(film.low, film.high)}
<noscript>The map is drawn by a script of this page; this browser runs none.</noscript></div></div>
<figcaption>{caption}</figcaption></figure>"""


def sliders() -> str:
    """The two controls of a map."""
    return f"""<label class="slider"><span>Opacity of map</span>
<input type="range" name="opacity" max="100" value="{OPACITY}"><output>{OPACITY} %</output></label>
<label class="slider"><span>Shown from</span>
<input type="range" name="threshold" max="99" value="{THRESHOLD}"><output>{THRESHOLD} %</output></label>"""


def colour_scale(low: float, high: float) -> str:
    """What the colours stand for."""
    return (
        f'<div class="scale"><span>{low:.2f}</span><span class="colours" style="background: {gradient()}">'
        f"</span><span>{high:.2f}</span><small>similarity of region and phrase</small></div>"
    )


def _phrase(name: str, number: int, phrase: FilmPhrase) -> str:
    shown = phrase.map
    checked = " checked" if number == 0 else ""
    return (
        f'<label class="phrase"><input type="radio" name="{name}" value="{number}"{checked}'
        f' data-width="{shown.width}" data-height="{shown.height}" data-levels="{shown.text()}">'
        f"<span>{html.escape(phrase.phrase)}<small>{html.escape(phrase.detail)}</small></span></label>"
    )


def _boxes(number: int, phrase: FilmPhrase) -> str:
    drawn = "".join(
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        for x, y, width, height in phrase.boxes
    )
    return f'<g data-phrase="{number}">{drawn}</g>'
