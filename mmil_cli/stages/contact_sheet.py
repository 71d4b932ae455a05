"""The page of what queries found: each hit with its picture, the sentence that matched, and where."""

from collections.abc import Sequence

import numpy as np

from mmil_cli.data.fit import fit_film
from mmil_cli.data.maps import Map, grid_to_film
from mmil_cli.stages.archive import Archive
from mmil_cli.stages.archive_query import Answer, Hit
from mmil_cli.viz.contact import Shown, strip
from mmil_cli.viz.layers import similarity_scale
from mmil_cli.viz.overlay import DISCLAIMER
from mmil_cli.viz.page import Block, Heading, Page, Paragraph, Picture, render

_ASKED = {
    "text": "Films that fit a text",
    "image": "Reports that fit a film",
    "like": "Films like a film",
}
_NOTICE = (
    "Right of each pair: a film with its similarity map, yellow is high. Left of it: the same film without, "
    f"or the other one of the film asked with and the film found. {DISCLAIMER}."
)
_OF_SCORE = {"text": "score", "image": "score", "like": "cosine"}


def contact_sheet(archive: Archive, answers: Sequence[Answer]) -> str:
    """The whole page as HTML; nothing in it is fetched, and every word of a report is escaped."""
    blocks = [block for answer in answers for block in _answer(archive, answer)]
    return render(Page("mmil retrieve", [Paragraph(_NOTICE), *blocks]))


def _answer(archive: Archive, answer: Answer) -> list[Block]:
    values = [_values(archive, answer, hit) for hit in answer.hits]
    scale = similarity_scale(values)
    blocks: list[Block] = [
        Heading(f"{_ASKED[answer.kind]}: {answer.query}"),
        Paragraph(f"{len(answer.hits)} of {answer.num_gallery}; {answer.num_scored} were scored in full."),
    ]
    for rank, (hit, shown) in enumerate(zip(answer.hits, values, strict=True), start=1):
        picture = strip(_films(archive, answer, hit, shown), scale)
        blocks += [Picture(picture, _caption(rank, answer, hit)), *_words(answer, hit)]
    return blocks


def _caption(rank: int, answer: Answer, hit: Hit) -> str:
    about = ", ".join(f"{name.removesuffix('_id')} {value}" for name, value in hit.about.items() if value)
    return f"{rank}. {_OF_SCORE[answer.kind]} {hit.score:.2f}: {about}"


def _words(answer: Answer, hit: Hit) -> list[Block]:
    whose = {
        "text": "is nearest to the text",
        "image": "fits the film best",
        "like": "fits the query's film best",
    }
    found: list[Block] = []
    if hit.sentence:
        words = f"“{hit.sentence}” of its report {whose[answer.kind]} ({hit.sentence_score:.2f})."
        found.append(Paragraph(words))
    if hit.phrase:
        found.append(Paragraph(f"The map is of “{hit.phrase}”."))
    if hit.sentences:
        found.append(Paragraph(f"Report: {' '.join(hit.sentences)}"))
    return found


def _films(archive: Archive, answer: Answer, hit: Hit, values: Map) -> list[Shown]:
    """What was asked with or found, and beside it the film that the map lies on."""
    found = archive.evaluation.dataset.pixels(hit.row)
    asked = _asked_film(archive, answer)
    mapped = found if hit.map_row is not None else asked
    assert mapped is not None, "a map needs a film"
    beside = found if hit.map_row is None or asked is None else asked
    return [Shown(beside), Shown(mapped, values)]


def _asked_film(archive: Archive, answer: Answer) -> np.ndarray | None:
    return answer.pixels if answer.film is None else archive.evaluation.dataset.pixels(answer.film)


def _values(archive: Archive, answer: Answer, hit: Hit) -> Map:
    """The hit's map at the pixels of the film it lies on."""
    film = _asked_film(archive, answer) if hit.map_row is None else archive.evaluation.dataset.pixels(hit.row)
    assert film is not None, "a map needs a film"
    contract = archive.evaluation.embedder.contract
    fitted = fit_film(film, size=contract.size, fit=contract.fit)
    height, width = film.shape
    return grid_to_film(
        hit.grid,
        size=contract.size,
        to_film=fitted.to_stored,
        height=height,
        width=width,
        centre=archive.store.cell_centre,
    )
