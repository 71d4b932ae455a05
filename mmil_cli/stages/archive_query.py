"""Questions to an index: films that fit a text, reports that fit a film, films like a film."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmil_cli.core.bags import RegionBag
from mmil_cli.data.dataset import Row, StudyDataset
from mmil_cli.data.splits import normalise_split
from mmil_cli.errors import UsageError, listing, nearest
from mmil_cli.stages.archive import Archive
from mmil_cli.stages.archive_filter import Filter, select_films
from mmil_cli.stages.archive_scores import full_scores, shortlist
from mmil_cli.stages.film import open_film
from mmil_cli.stages.film_notes import film_notes
from mmil_cli.stages.gallery import ReportScorer
from mmil_cli.stages.neighbours import NEIGHBOURS_FILE, near_films
from mmil_cli.stages.query import DEFAULT_TOP, query_notes, read_text


@dataclass(frozen=True, kw_only=True, eq=False)
class Hit:
    """A film or report that was found, with what speaks for it.

    Attributes:
        row: of the dataset: of the film, or of the first film with the report.
        score: the model's score, or the cosine of film vectors; compares within one query.
        about: ids, split and view, and the day of the study where it is known.
        sentences: of its report.
        sentence: of the report found, the one that fits best: the query's text, or the query's film.
        sentence_score: how well; a cosine of sentences for a text, else the model's score.
        phrase: what the map is of: the sentence of the query, or the one of the report.
        map_row: whose film the map lies on; None for the query's own film.
        grid: the map of the phrase on the regions of that film [rows, columns], NaN where no film is.
    """

    row: int
    score: float
    about: dict[str, str]
    sentences: tuple[str, ...]
    sentence: str
    sentence_score: float
    phrase: str
    map_row: int | None
    grid: np.ndarray

    def as_json(self) -> dict[str, Any]:
        """All but the map."""
        hidden = ("grid", "row", "map_row")
        return {name: value for name, value in vars(self).items() if name not in hidden}


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What one query found, best first.

    Attributes:
        kind: text, image or like.
        query: the text, file name or image id.
        hits: films, or for an image reports.
        num_gallery: among how many.
        num_scored: of how many the full score was computed.
        film: row of the query's film in the dataset; None of a text or of a film from a file.
        pixels: of the query's film, where it is from a file.
        notes: how that film is unlike those of the training.
    """

    kind: str
    query: str
    hits: tuple[Hit, ...]
    num_gallery: int
    num_scored: int
    film: int | None = None
    pixels: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For `write_json`."""
        names = ("kind", "query", "num_gallery", "num_scored")
        return {**{name: getattr(self, name) for name in names}, "hits": [hit.as_json() for hit in self.hits]}


def films_for_text(
    archive: Archive, text: str, *, chosen: Filter, top: int = DEFAULT_TOP, fast: bool = False
) -> Answer:
    """The films that score highest with a text.

    Args:
        archive: to look in.
        text: a phrase, or several sentences taken as one report.
        chosen: which films.
        top: films to give.
        fast: score on a coarser grid first, and only the best fifth fully.

    Raises:
        UsageError: a text without words, or a filter that leaves no film.
    """
    sentences = read_text(text)
    films = select_films(archive, chosen)
    scorer = ReportScorer(archive.evaluation.embedder, [sentences])
    scored = shortlist(archive, scorer, films)[0] if fast else films
    scores = full_scores(archive, scorer, scored)[:, 0]
    best = _best(scores, top)
    hits = [_text_hit(archive, int(scored[i]), float(scores[i]), sentences) for i in best]
    return Answer(kind="text", query=text, hits=tuple(hits), num_gallery=len(films), num_scored=len(scored))


def reports_for_film(archive: Archive, image: Path, *, chosen: Filter, top: int = DEFAULT_TOP) -> Answer:
    """The reports that score highest with the film of a file; reports of the same words count once.

    Raises:
        RejectedRecord: the file gives no film.
        UsageError: the index has no reports, or a filter leaves none.
    """
    embedder = archive.evaluation.embedder
    if archive.gallery is None or archive.scorer is None:
        archive.evaluation.dataset.require_reports()
        raise AssertionError("an index without reports of a dataset with them")
    film = open_film(image, embedder)
    regions = embedder.films([film.fitted]).regions
    places = np.flatnonzero(np.isin(archive.gallery.rows, select_films(archive, chosen)))
    if not len(places):
        raise UsageError("no report is left by the filters; loosen them")
    scores = archive.scorer.scores_of(regions)[0, places]
    hits = []
    for i in _best(scores, top):
        row = int(archive.gallery.rows[places[i]])
        hits.append(_report_hit(archive, row, float(scores[i]), regions, on=None))
    return Answer(
        kind="image",
        query=image.name,
        hits=tuple(hits),
        num_gallery=len(places),
        num_scored=len(places),
        pixels=film.pixels,
        notes=film_notes(film, archive.evaluation.recipe),
    )


def films_like(
    archive: Archive, image_id: str, *, chosen: Filter, top: int = DEFAULT_TOP, faiss: bool = False
) -> Answer:
    """The other films whose vectors lie nearest to that of a film of the dataset, by cosine [ours].

    Args:
        archive: to look in.
        image_id: of the dataset.
        chosen: which films.
        top: films to give.
        faiss: through FAISS's graph, which may miss some; else all are compared.

    Raises:
        UsageError: there is no such film, a filter leaves none, or FAISS is missing.
    """
    film = _row_of(archive.evaluation.dataset, image_id)
    films = select_films(archive, chosen)
    films = films[films != film]
    vector = archive.store.vectors[film]
    scored = near_films(archive.folder / NEIGHBOURS_FILE, vector, top=top, allowed=films) if faiss else films
    scores = archive.store.vectors[scored] @ vector
    regions = archive.store.regions(np.array([film]))
    hits = []
    for i in _best(scores, top):
        row = int(scored[i])
        hits.append(_report_hit(archive, row, float(scores[i]), regions, on=row))
    return Answer(
        kind="like",
        query=image_id,
        hits=tuple(hits),
        num_gallery=len(films),
        num_scored=len(scored),
        film=film,
    )


def notes_of(archive: Archive, texts: Sequence[str]) -> tuple[str, ...]:
    """What the reader of answers must know."""
    evaluation = archive.evaluation
    return (*evaluation.notes(None), *query_notes(evaluation.embedder.tokenizer, texts))


def provenance_of(archive: Archive, chosen: Filter, *, top: int) -> dict[str, Any]:
    """What answers depend on."""
    options = {**asdict(chosen), "top": top}
    split = normalise_split(chosen.split) if chosen.split else None
    return archive.evaluation.provenance(split=split, seed=None, options=options)


def _text_hit(archive: Archive, row: int, score: float, sentences: Sequence[str]) -> Hit:
    """A film that a text found: the map of the text's best sentence, and the nearest one of its report."""
    embedder = archive.evaluation.embedder
    regions = archive.store.regions(np.array([row]))
    asked = embedder.sentences(sentences)
    alone = ReportScorer(embedder, [[sentence] for sentence in sentences]).scores_of(regions)[0]
    best = int(alone.argmax())
    about = archive.evaluation.dataset.row(row)
    own, near = "", float("nan")
    if about.sentences:
        cosines = embedder.sentences(about.sentences).features @ asked.features[best]
        own, near = about.sentences[int(cosines.argmax())], float(cosines.max())
    return Hit(
        row=row,
        score=score,
        about=_about(about),
        sentences=about.sentences,
        sentence=own,
        sentence_score=near,
        phrase=sentences[best],
        map_row=row,
        grid=embedder.maps(regions, asked[best : best + 1])[0, 0].numpy(),
    )


def _report_hit(archive: Archive, row: int, score: float, asking: RegionBag, *, on: int | None) -> Hit:
    """A report, or film with its report: the sentence that fits the asking film best, and where it fits.

    Args:
        archive: to look in.
        row: that was found.
        score: of it.
        asking: the query's film.
        on: the row whose film the map is of; None for the asking film.
    """
    embedder = archive.evaluation.embedder
    about = archive.evaluation.dataset.row(row)
    sentences = list(dict.fromkeys(about.sentences))
    shown = asking if on is None else archive.store.regions(np.array([on]))
    best, fit, grid = "", float("nan"), np.full(shown.grid, np.nan, np.float32)
    if sentences:
        scores = ReportScorer(embedder, [[sentence] for sentence in sentences]).scores_of(asking)[0]
        best, fit = sentences[int(scores.argmax())], float(scores.max())
        grid = embedder.maps(shown, embedder.sentences([best]))[0, 0].numpy()
    return Hit(
        row=row,
        score=score,
        about=_about(about),
        sentences=about.sentences,
        sentence=best,
        sentence_score=fit,
        phrase=best,
        map_row=on,
        grid=grid,
    )


def _about(row: Row) -> dict[str, str]:
    about = {name: getattr(row, name) for name in ("image_id", "study_id", "split", "view")}
    return about if row.study_day is None else {**about, "day": str(row.study_day)}


def _row_of(dataset: StudyDataset, image_id: str) -> int:
    ids = dataset.column("image_id")
    found = np.flatnonzero(ids == image_id)
    if not len(found):
        guess = nearest(image_id, ids.tolist())
        known = listing([repr(name) for name in ids[:3].tolist()])
        raise UsageError(
            f"--like {image_id!r}: {dataset.folder} has no such film{guess}; it has: {known}, ..."
        )
    return int(found[0])


def _best(scores: np.ndarray, top: int) -> np.ndarray:
    return np.argsort(-scores, kind="stable")[:top]
