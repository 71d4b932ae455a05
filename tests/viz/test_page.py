import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from mmil_cli.viz.page import Block, Command, Heading, Page, Paragraph, Picture, Table, render

VOID = {"meta", "img", "link", "br", "hr", "!doctype"}
NASTY = "<script>alert('x')</script> & \"quoted\""


def png(width: int = 300, height: int = 150) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, "PNG")
    return buffer.getvalue()


class Reader(HTMLParser):
    """Checks that tags nest, and gathers what a test asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def read(*blocks: Block, **fields: str) -> Reader:
    return Reader(render(Page("Title", blocks, **fields)))


def test_every_word_is_escaped_wherever_it_stands() -> None:
    blocks: list[Block] = [
        Heading(NASTY),
        Paragraph(NASTY),
        Command(NASTY),
        Picture(png(), NASTY, NASTY),
        Table([NASTY], [[NASTY]], NASTY),
    ]
    text = render(Page(NASTY, blocks, subtitle=NASTY, banner=NASTY))
    reader = Reader(text)
    assert "<script" not in text
    assert not reader.all("script")
    assert reader.words.count(NASTY) == 11
    assert reader.all("img")[0]["alt"] == NASTY


def test_nothing_is_fetched_and_nothing_runs() -> None:
    text = render(Page("t", [Picture(png(), "c"), Heading("a"), Command("curl http://example.org")]))
    reader = Reader(text)
    addresses = [a[k] for _, a in reader.tags for k in ("src", "href") if k in a]
    assert addresses
    assert all(address and address.startswith(("data:", "#")) for address in addresses)
    assert "url(" not in text
    assert "@import" not in text
    policy = next(m["content"] for m in reader.all("meta") if "http-equiv" in m)
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_pictures_are_embedded_unchanged_with_their_size() -> None:
    picture = read(Picture(png(), "A caption")).all("img")[0]
    assert picture["src"] is not None
    assert base64.b64decode(picture["src"].split(",")[1]) == png()
    assert (picture["width"], picture["height"]) == ("200", "100")
    assert picture["alt"] == "A caption"


def test_a_table_of_contents_appears_above_four_headings_and_its_links_lead_somewhere() -> None:
    few = [Heading(f"h {i}") for i in range(4)]
    assert not read(*few).all("nav")
    reader = read(*few, Heading("Same", 3), Heading("Same"), Heading("???"))
    links = [str(a["href"]) for a in reader.all("a")]
    targets = [f"#{a['id']}" for tag in ("h2", "h3") for a in reader.all(tag)]
    assert sorted(links) == sorted(targets)
    assert len(set(links)) == 7
    assert "#same-2" in links


@pytest.mark.parametrize(
    ("cells", "right"),
    [
        (["1", "2.5", "-3"], True),
        ([1, 2.5, float("nan")], True),
        (["0.83 [0.79, 0.87]", "–", "12 %"], True),
        (["1,200", "3e-5", "+4"], True),
        (["effusion", "2", "3"], False),
        (["", "", ""], False),
        (["2 films", "3"], False),
    ],
)
def test_columns_of_numbers_stand_to_the_right(cells: list[str | int | float], right: bool) -> None:
    reader = read(Table(["name", "value"], [["a", cell] for cell in cells]))
    marked = [a.get("class") for tag in ("th", "td") for a in reader.all(tag)]
    assert marked.count("number") == (len(cells) + 1 if right else 0)


def test_real_numbers_have_three_digits_and_undefined_is_a_dash() -> None:
    words = read(Table(["v"], [[0.123456], [float("nan")], [7]])).words
    assert "0.123" in words
    assert "0.1234" not in words
    assert "–" in words
    assert "7.0" not in words


def test_a_row_of_another_length_is_our_own_bug() -> None:
    with pytest.raises(AssertionError, match="a row of 1 cells in a table of 2 columns"):
        read(Table(["a", "b"], [["x"]]))


def test_banner_and_subtitle_only_where_given() -> None:
    assert "Generated data" in read(banner="Generated data").words
    assert not [a for a in read().all("p") if a.get("class")]


def test_page_is_the_same_every_time_and_knows_dark_and_print() -> None:
    page = Page("t", [Paragraph("x")])
    text = render(page)
    assert text == render(page)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    used = set(re.findall(r"var\((--[a-z-]+)\)", text))
    assert used == set(re.findall(r"(--[a-z-]+):", text))
