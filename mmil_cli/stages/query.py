"""Queries of a dataset: the films that fit a text, and the reports that fit a film."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmil_cli.core.model import ImageFeatures
from mmil_cli.data.sentences import has_words, is_unicode, split_sentences
from mmil_cli.data.tokenizer import SentenceTokenizer
from mmil_cli.errors import UsageError, shortened
from mmil_cli.stages.evaluation import Evaluation, OnProgress, open_evaluation
from mmil_cli.stages.film import open_film
from mmil_cli.stages.film_notes import film_notes
from mmil_cli.stages.gallery import Gallery, ReportScorer, distinct_texts, score_films

DEFAULT_TOP = 10


@dataclass(frozen=True, kw_only=True)
class FoundFilm:
    """A film that a text found.

    Attributes:
        score: the model's score (sum of its terms' logits); compares within one query only.
        sentences: of the film's own report.
    """

    score: float
    image_id: str
    study_id: str
    split: str
    view: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TextQuery:
    """A text and the films it found, best first.

    Attributes:
        text: as given.
        unknown_words: share of its tokens that the model's vocabulary does not know.
        films: those found.
    """

    text: str
    unknown_words: float
    films: tuple[FoundFilm, ...]


@dataclass(frozen=True, kw_only=True)
class ScoredSentence:
    """A sentence with its score as a report of its own."""

    sentence: str
    score: float


@dataclass(frozen=True, kw_only=True)
class FoundReport:
    """A report that a film found.

    Attributes:
        score: the model's score (sum of its terms' logits); compares within one query only.
        study_id: the first study that has it.
        num_studies: how many studies have these very words.
        sentences: those of the report, the one that fits best first.
    """

    score: float
    study_id: str
    num_studies: int
    sentences: tuple[ScoredSentence, ...]


@dataclass(frozen=True, kw_only=True)
class ImageQuery:
    """A film and the reports it found, best first."""

    image: str
    reports: tuple[FoundReport, ...]


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """What queries found.

    Attributes:
        texts: what each text found, in the order given.
        images: what each film found, in the order given.
        num_gallery: films, or distinct reports, that were ranked.
        notes: what the reader must know.
        provenance: what the scores depend on.
    """

    texts: tuple[TextQuery, ...] = ()
    images: tuple[ImageQuery, ...] = ()
    num_gallery: int
    notes: tuple[str, ...]
    provenance: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """For `write_json`."""
        return asdict(self)


def find_films(
    data: Path,
    texts: Sequence[str],
    *,
    checkpoint: Path,
    split: str | None = None,
    top: int = DEFAULT_TOP,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> QueryResult:
    """The films of a dataset that score highest with each text.

    Args:
        data: dataset folder.
        texts: each a phrase, or several sentences taken as one report.
        checkpoint: checkpoint or run folder.
        split: whose films to rank; None for all.
        top: films to give for each text.
        device: auto, cpu or cuda.
        on_progress: told of films.

    Raises:
        UsageError: a text without words, or no such split.
    """
    reports = [read_text(text) for text in texts]
    evaluation = open_evaluation(data, checkpoint=checkpoint, device=device)
    rows = evaluation.dataset.indices(split)
    scorer = ReportScorer(evaluation.embedder, reports)
    scores = score_films(evaluation, rows, scorer, on_progress=on_progress)
    unknown = [evaluation.embedder.tokenizer.unknown_share(report) for report in reports]
    return QueryResult(
        texts=tuple(
            TextQuery(text=text, unknown_words=share, films=_best_films(evaluation, rows, column, top))
            for text, share, column in zip(texts, unknown, scores.T, strict=True)
        ),
        num_gallery=len(rows),
        notes=(*evaluation.notes(None), *query_notes(evaluation.embedder.tokenizer, texts)),
        provenance=evaluation.provenance(split=split, seed=None, options={"top": top}),
    )


def find_reports(
    data: Path,
    images: Sequence[Path],
    *,
    checkpoint: Path,
    split: str | None = None,
    top: int = DEFAULT_TOP,
    device: str = "auto",
) -> QueryResult:
    """The reports of a dataset that score highest with each film; reports of the same words count once.

    Args:
        data: dataset folder.
        images: DICOM, PNG or JPEG files.
        checkpoint: checkpoint or run folder.
        split: whose reports to rank; None for all.
        top: reports to give for each film.
        device: auto, cpu or cuda.

    Raises:
        RejectedRecord: a file gives no film.
        UsageError: no such split.
    """
    evaluation = open_evaluation(data, checkpoint=checkpoint, device=device)
    embedder, dataset = evaluation.embedder, evaluation.dataset
    gallery = distinct_texts(dataset, dataset.indices(split))
    opened = [open_film(image, embedder) for image in images]
    films = [embedder.films([film.fitted]) for film in opened]
    scorer = ReportScorer(embedder, gallery.reports)
    return QueryResult(
        images=tuple(
            ImageQuery(image=image.name, reports=_best_reports(evaluation, gallery, film, scorer, top))
            for image, film in zip(images, films, strict=True)
        ),
        num_gallery=len(gallery.rows),
        notes=(
            *evaluation.notes(None),
            *(note for film in opened for note in film_notes(film, evaluation.recipe)),
        ),
        provenance=evaluation.provenance(split=split, seed=None, options={"top": top}),
    )


def read_text(text: str) -> list[str]:
    """The sentences of a text that is looked for.

    Raises:
        UsageError: it has no words, or is no text.
    """
    if not has_words(text):
        raise UsageError(
            f"the text {text!r} has no word to look for; give a phrase such as 'left pleural effusion'"
        )
    if not is_unicode(text):
        raise UsageError(f"the text {text!a} is not UTF-8 text; set the terminal to UTF-8")
    return split_sentences(text) or [text]


def query_notes(tokenizer: SentenceTokenizer, texts: Sequence[str]) -> tuple[str, ...]:
    """What of some texts the model does not read."""
    reports = [read_text(text) for text in texts]
    unknown = [tokenizer.unknown_share(report) for report in reports]
    return (*_unknown_notes(texts, unknown), *_cut_notes(tokenizer, reports))


def _unknown_notes(texts: Sequence[str], shares: Sequence[float]) -> list[str]:
    return [
        f"{share:.0%} of the words of {shortened(text)!r} are unknown to the model, "
        "which never read them in training"
        for text, share in zip(texts, shares, strict=True)
        if share > 0
    ]


def _cut_notes(tokenizer: SentenceTokenizer, reports: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"the model reads {tokenizer.max_tokens} tokens of a sentence; the end of "
        f"{shortened(sentence)!r} does not count"
        for report in reports
        for sentence in report
        if tokenizer.is_cut(sentence)
    ]


def _best(scores: np.ndarray, top: int) -> np.ndarray:
    return np.argsort(-scores, kind="stable")[:top]


def _best_films(
    evaluation: Evaluation, rows: np.ndarray, scores: np.ndarray, top: int
) -> tuple[FoundFilm, ...]:
    found = []
    for place in _best(scores, top):
        row = evaluation.dataset.row(int(rows[place]))
        found.append(
            FoundFilm(
                score=float(scores[place]),
                image_id=row.image_id,
                study_id=row.study_id,
                split=row.split,
                view=row.view,
                sentences=row.sentences,
            )
        )
    return tuple(found)


def _best_reports(
    evaluation: Evaluation, gallery: Gallery, film: ImageFeatures, scorer: ReportScorer, top: int
) -> tuple[FoundReport, ...]:
    scores = scorer.scores(film)[0]
    return tuple(
        FoundReport(
            score=float(scores[place]),
            study_id=evaluation.dataset.row(int(gallery.rows[place])).study_id,
            num_studies=int(gallery.counts[place]),
            sentences=_scored_sentences(evaluation, film, gallery.reports[place]),
        )
        for place in _best(scores, top)
    )


def _scored_sentences(
    evaluation: Evaluation, film: ImageFeatures, sentences: Sequence[str]
) -> tuple[ScoredSentence, ...]:
    """Each distinct sentence as a report of its own, best first."""
    distinct = list(dict.fromkeys(sentences))
    scores = ReportScorer(evaluation.embedder, [[sentence] for sentence in distinct]).scores(film)[0]
    return tuple(
        ScoredSentence(sentence=distinct[place], score=float(scores[place]))
        for place in _best(scores, len(distinct))
    )
