"""One self-contained HTML page: pictures inside, nothing fetched, dark and light, printable.

The only script is the one that draws maps over films, and the browser is told its hash: no other would run.
"""

import base64
import hashlib
import html
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from mmil_cli.viz import tables
from mmil_cli.viz.grounded import GroundedFilm, film_script, grounded_film
from mmil_cli.viz.style import DRAWING_STYLE, STYLE

Cell = str | int | float

_NUMBER = re.compile(r"[-+−]?\d[\d\s,.]*(e[-+]?\d+)?\s*%?(\s*\[[^\]]*\])?|–|")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PIXEL_RATIO = 1.5  # of picture to page
_CONTENTS_FROM = 5  # headings; fewer need no table of contents
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Heading:
    """A heading of level 2 (a chapter) or 3."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells; columns that hold only numbers (or numbers with intervals) are set to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG with words beneath; `description` is for those who cannot see it (default: the caption)."""

    png: bytes
    caption: str
    description: str = ""


@dataclass(frozen=True)
class Drawing:
    """An SVG of ours, which takes the page's colours and letters; words as with a picture."""

    svg: str
    caption: str
    description: str = ""


@dataclass(frozen=True)
class Command:
    """Something to type, shown as it is."""

    text: str


Block = Heading | Paragraph | Table | Picture | Drawing | Command | GroundedFilm


@dataclass(frozen=True)
class Page:
    """A title and its blocks; `banner` is a notice above everything, such as that the data are generated."""

    title: str
    blocks: Sequence[Block]
    subtitle: str = ""
    banner: str | None = None


def render(page: Page) -> str:
    """The whole page as HTML; every word of it is escaped."""
    anchors = _anchors([block for block in page.blocks if isinstance(block, Heading)])
    waiting = iter(anchors)
    body = [
        _heading(block, next(waiting)[1]) if isinstance(block, Heading) else _block(block)
        for block in page.blocks
    ]
    style = STYLE + (DRAWING_STYLE if any(isinstance(block, Drawing) for block in page.blocks) else "")
    script = film_script() if any(isinstance(block, GroundedFilm) for block in page.blocks) else ""
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        *_head(page.title, style=style, script=script),
        "<body>",
        *([f'<p class="banner" role="note">{_text(page.banner)}</p>'] if page.banner else []),
        f"<header><h1>{_text(page.title)}</h1>",
        *([f'<p class="subtitle">{_text(page.subtitle)}</p>'] if page.subtitle else []),
        "</header>",
        *_contents(anchors),
        "<main>",
        *body,
        "</main>",
        *([f"<script>{script}</script>"] if script else []),
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def script_hash(script: str) -> str:
    """The source expression by which a content policy allows this very script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _head(title: str, *, style: str, script: str) -> list[str]:
    policy = f"{_POLICY}; script-src {script_hash(script)}" if script else _POLICY
    return [
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{_text(title)}</title>",
        f"<style>{style}</style>",
        "</head>",
    ]


def _anchors(headings: Sequence[Heading]) -> list[tuple[Heading, str]]:
    """Each heading with an id of its own, readable in a link."""
    taken: set[str] = set()
    anchors = []
    for heading in headings:
        stem = re.sub(r"[^a-z0-9]+", "-", heading.text.lower()).strip("-") or "section"
        anchor, number = stem, 2
        while anchor in taken:
            anchor, number = f"{stem}-{number}", number + 1
        taken.add(anchor)
        anchors.append((heading, anchor))
    return anchors


def _contents(anchors: Sequence[tuple[Heading, str]]) -> list[str]:
    if len(anchors) < _CONTENTS_FROM:
        return []
    entries = [
        f'<li class="level-{heading.level}"><a href="#{anchor}">{_text(heading.text)}</a></li>'
        for heading, anchor in anchors
    ]
    return ['<nav aria-label="Contents"><ul>', *entries, "</ul></nav>"]


def _heading(heading: Heading, anchor: str) -> str:
    return f'<h{heading.level} id="{anchor}">{_text(heading.text)}</h{heading.level}>'


def _block(block: Paragraph | Table | Picture | Drawing | Command | GroundedFilm) -> str:
    match block:
        case Paragraph():
            return f"<p>{_text(block.text)}</p>"
        case Command():
            return f"<pre><code>{_text(block.text)}</code></pre>"
        case Picture():
            return _picture(block)
        case Drawing():
            return _drawing(block)
        case GroundedFilm():
            return grounded_film(block)
        case Table():
            return _table(block)


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    words = _text(picture.description or picture.caption)
    caption = f"<figcaption>{_text(picture.caption)}</figcaption>" if picture.caption else ""
    width, height = _shown_size(picture.png)
    source = f'src="data:image/png;base64,{data}" width="{width}" height="{height}"'
    return f'<figure><img {source} alt="{words}">{caption}</figure>'


def _drawing(drawing: Drawing) -> str:
    words = _text(drawing.description or drawing.caption)
    caption = f"<figcaption>{_text(drawing.caption)}</figcaption>" if drawing.caption else ""
    return f'<figure class="drawing" role="img" aria-label="{words}">{caption}{drawing.svg}</figure>'


def _shown_size(png: bytes) -> tuple[int, int]:
    """Width and height on the page, from the picture's header; finer than the page, so it stays sharp."""
    assert png.startswith(_PNG_MAGIC), "a picture of a page must be a PNG"
    width, height = struct.unpack(">II", png[16:24])
    return round(width / _PIXEL_RATIO), round(height / _PIXEL_RATIO)


def _table(table: Table) -> str:
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    uneven = [row for row in rows if len(row) != len(table.columns)]
    assert not uneven, f"a row of {len(uneven[0])} cells in a table of {len(table.columns)} columns"
    right = [_is_numeric([row[i] for row in rows]) for i in range(len(table.columns))]
    marks = [' class="number"' if numeric else "" for numeric in right]
    caption = f"<caption>{_text(table.caption)}</caption>" if table.caption else ""
    head = "".join(
        f'<th scope="col"{mark}>{_text(name)}</th>' for name, mark in zip(table.columns, marks, strict=True)
    )
    lines = [
        "".join(f"<td{mark}>{_text(cell)}</td>" for cell, mark in zip(row, marks, strict=True))
        for row in rows
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll"><table>{caption}\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    return tables.number(cell, digits=3) if isinstance(cell, float) else str(cell)


def _is_numeric(cells: Sequence[str]) -> bool:
    return any(cells) and all(_NUMBER.fullmatch(cell) for cell in cells)


def _text(words: str) -> str:
    return html.escape(words)
