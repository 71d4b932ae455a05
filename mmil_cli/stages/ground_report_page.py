"""The page of a report in a film: one picture, one table, and what each sentence looked at."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mmil_cli.stages.film import OpenedFilm
from mmil_cli.stages.ground_film import PhraseFinding
from mmil_cli.viz.contact import Shown, strip
from mmil_cli.viz.layers import similarity_scale
from mmil_cli.viz.overlay import DISCLAIMER
from mmil_cli.viz.page import Block, Heading, Page, Paragraph, Picture, Table, render
from mmil_cli.viz.tables import number, percent

if TYPE_CHECKING:
    from mmil_cli.stages.ground_report import ReportResult, SentenceFinding

_FOUND = {True: "nothing", False: "yes", None: "not known"}


def report_page(film: OpenedFilm, result: "ReportResult", picture: bytes, *, rule: str) -> str:
    """The page as HTML; what the report says is escaped."""
    blocks: list[Block] = [Paragraph(note) for note in result.notes]
    blocks += [
        Picture(picture, "Each sentence with its similarity map, all on one colour scale."),
        _table(result.sentences),
        Paragraph(f"{rule} Here {result.num_others} films of other patients were compared with."),
        Heading("What each sentence looked at"),
        Paragraph(
            "For each sentence the weights of regions in its score, a term at a time. A local term (lse) "
            "weighs regions by their own scores; a global one (nl) averages those about the critical "
            "region, the one with the highest score."
        ),
    ]
    for sentence in result.sentences:
        blocks += _looked_at(film, sentence.finding)
    return render(Page(f"A report in {film.path.name}", blocks, subtitle=DISCLAIMER))


def _table(sentences: Sequence["SentenceFinding"]) -> Table:
    terms = list(sentences[0].finding.terms)
    rows = [
        (
            sentence.finding.phrase,
            _FOUND[sentence.finds_nothing],
            "–" if sentence.share_below is None else percent(sentence.share_below),
            number(sentence.finding.score),
            *(number(sentence.finding.terms[term]) for term in terms),
            _place(sentence.finding),
        )
        for sentence in sentences
    ]
    columns = ("sentence", "found", "scores lower in", "score", *terms, "critical region at x, y")
    return Table(columns, rows, "Scores, and the share of other patients' films in which they are lower.")


def _place(finding: PhraseFinding) -> str:
    x, y = finding.place.point(*finding.regions.critical, finding.grid.shape)
    return f"{x:.0f}, {y:.0f}"


def _looked_at(film: OpenedFilm, finding: PhraseFinding) -> list[Block]:
    """One strip: the weights of every term over the film."""
    terms = list(finding.regions.weights)
    near = finding.place.at_most(400)
    shown = _shrunk(film, near.height, near.width)
    strips = []
    for term in terms:
        values = near.values(finding.regions.weights[term])
        strips.append(strip([Shown(shown, values)], similarity_scale([values])))
    blocks: list[Block] = [Heading(finding.phrase, level=3)]
    for term, picture in zip(terms, strips, strict=True):
        row, column, weight = finding.regions.highest(term)[0]
        x, y = finding.place.point(row, column, finding.grid.shape)
        words = (
            f"{term}: spread over {finding.regions.effective(term):.1f} regions; most, {weight:.2f}, at "
            f"{x:.0f}, {y:.0f}"
        )
        blocks.append(Picture(picture, words))
    return blocks


def _shrunk(film: OpenedFilm, height: int, width: int) -> np.ndarray:
    if film.pixels.shape == (height, width):
        return film.pixels
    return np.asarray(Image.fromarray(film.pixels).resize((width, height), Image.Resampling.BOX))
