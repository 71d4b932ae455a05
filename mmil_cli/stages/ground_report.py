"""A whole report in a film: a map for each sentence, and which sentences find nothing in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmil_cli.build import LoadedCheckpoint, load_checkpoint
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.reports import parse_report, report_sentences
from mmil_cli.data.sentences import has_words
from mmil_cli.errors import DataError, UsageError, nearest
from mmil_cli.files import make_folder, write_bytes, write_json, write_text
from mmil_cli.inference import Embedder
from mmil_cli.runtime import commit, versions
from mmil_cli.stages.film import OpenedFilm, open_film
from mmil_cli.stages.film_notes import film_notes
from mmil_cli.stages.gallery import ReportScorer
from mmil_cli.stages.ground import checkpoint_record, draw, film_record, phrase_record
from mmil_cli.stages.ground_film import PhraseFinding, ground_film
from mmil_cli.stages.ground_report_page import report_page

OTHER_FILMS = 200
"""Films of other patients that a sentence's score is held against, at most."""

FOUND_ABOVE = 0.5
RULE = (
    "A sentence finds nothing in a film when it scores no higher there than in the median film of other "
    "patients. What most films show, such as what a denial says, is not told apart by this."
)
"""On generated studies, 15 % of the positive sentences of a film's own report find nothing by this rule, and
half of those of other reports, by what a median is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SentenceFinding:
    """A sentence in the film.

    Attributes:
        finding: its score, map, boxes and regions.
        share_below: of other patients' films, those in which it scores lower, ties counted half; None without
            other films.
    """

    finding: PhraseFinding
    share_below: float | None

    @property
    def finds_nothing(self) -> bool | None:
        """By the rule; None where there is nothing to compare with."""
        return None if self.share_below is None else self.share_below <= FOUND_ABOVE


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportResult:
    """A report in a film, and what was written.

    Attributes:
        film: the film.
        sentences: distinct ones of the report, in its order.
        num_others: films of other patients that scores were held against.
        notes: what the reader must know.
        picture: one panel a sentence, PNG.
        page: the same with numbers, HTML.
        record: in numbers, JSON.
    """

    film: OpenedFilm
    sentences: tuple[SentenceFinding, ...]
    num_others: int
    notes: tuple[str, ...]
    picture: Path
    page: Path
    record: Path


def run(
    image: Path | None,
    *,
    checkpoint: Path,
    out: Path,
    report: Path | None = None,
    data: Path | None = None,
    image_id: str | None = None,
    seed: int = 0,
    device: str = "auto",
) -> ReportResult:
    """Finds every sentence of a report in a film; writes `<film>_report.png`, `.html` and `.json`.

    Args:
        image: DICOM, PNG or JPEG file; None for a film of the dataset.
        checkpoint: checkpoint or run folder.
        out: folder for the three files.
        report: text file; None for the report that the dataset has of the film.
        data: dataset whose films scores are held against; None for no comparison.
        image_id: of a film of the dataset, in place of `image`.
        seed: of the other films.
        device: auto, cpu or cuda.

    Raises:
        UsageError: the dataset has no such film, or neither film nor report is given.
        DataError: the report has no sentence that describes a film, or cannot be read.
        RejectedRecord: the file gives no film.
    """
    dataset = StudyDataset.open(data) if data else None
    row = _row_of(dataset, image_id) if dataset and image_id else None
    sentences = _read_sentences(report) if report else _stored_sentences(dataset, row)
    loaded = load_checkpoint(checkpoint, device=device)
    if image is not None:
        film = open_film(image, loaded.embedder)
    else:
        assert dataset is not None, "a film is a file, or of a dataset"
        assert row is not None, "a film of a dataset has a row"
        film = stored_film(loaded.embedder, dataset, row)
    make_folder(out)
    findings, _ = ground_film(loaded.embedder, film, sentences)
    shares, num_others = _shares_below(loaded.embedder, dataset, row, findings, seed=seed)
    stem = out / f"{film.path.stem}_report"
    result = ReportResult(
        film=film,
        sentences=tuple(
            SentenceFinding(finding=finding, share_below=share)
            for finding, share in zip(findings, shares, strict=True)
        ),
        num_others=num_others,
        notes=(*film_notes(film, loaded.recipe), *([] if num_others else [_NOTHING_TO_COMPARE])),
        picture=stem.with_name(f"{stem.name}.png"),
        page=stem.with_name(f"{stem.name}.html"),
        record=stem.with_name(f"{stem.name}.json"),
    )
    picture = draw(film, findings)
    write_json(result.record, _record(result, loaded, seed=seed))
    write_bytes(result.picture, picture)
    write_text(result.page, report_page(film, result, picture, rule=RULE))
    return result


_NOTHING_TO_COMPARE = (
    "no dataset was given whose films the scores could be held against, so which sentences find nothing in "
    "this film is not known; give --data"
)


def stored_film(embedder: Embedder, dataset: StudyDataset, row: int) -> OpenedFilm:
    """A film of a dataset as it is stored there, ready for the model."""
    pixels, about = dataset.pixels(row), dataset.row(row)
    fitted = embedder.fit(pixels)
    return OpenedFilm(
        path=Path(about.image_id),
        pixels=pixels,
        fitted=fitted,
        to_source=fitted.to_stored,
        spacing_mm=None,
        view=about.view or None,
    )


def _read_sentences(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise DataError(f"{path} is not UTF-8 text; save the report as UTF-8") from fault
    except OSError as fault:
        raise DataError(f"{path} cannot be read: {fault.strerror}; --report takes a text file") from fault
    return _distinct(report_sentences(parse_report(text)), str(path))


def _stored_sentences(dataset: StudyDataset | None, row: int | None) -> list[str]:
    if dataset is None or row is None:
        raise UsageError("there is no report: give --report FILE, or --data DATASET with --id IMAGE_ID")
    dataset.require_reports()
    return _distinct(dataset.row(row).sentences, f"the report of {dataset.row(row).image_id}")


def _distinct(sentences: Sequence[str], where: str) -> list[str]:
    kept = list(dict.fromkeys(sentence for sentence in sentences if has_words(sentence)))
    if not kept:
        raise DataError(f"{where} has no sentence that describes a film; it needs findings or an impression")
    return kept


def _row_of(dataset: StudyDataset, image_id: str) -> int:
    ids = dataset.column("image_id")
    found = np.flatnonzero(ids == image_id)
    if not len(found):
        raise UsageError(f"{dataset.folder} has no film {image_id!r}{nearest(image_id, ids.tolist())}")
    return int(found[0])


def _shares_below(
    embedder: Embedder,
    dataset: StudyDataset | None,
    row: int | None,
    findings: Sequence[PhraseFinding],
    *,
    seed: int,
) -> tuple[list[float | None], int]:
    """For each sentence the share of other films in which it scores lower, and the number of other films."""
    if dataset is None:
        return [None] * len(findings), 0
    patients = dataset.column("patient_id")
    others = np.flatnonzero(patients != patients[row]) if row is not None else np.arange(len(dataset))
    drawn = np.random.default_rng(seed).permutation(others)[:OTHER_FILMS]
    if not len(drawn):
        return [None] * len(findings), 0
    scorer = ReportScorer(embedder, [[finding.phrase] for finding in findings])
    scores = scorer.scores(embedder.dataset(dataset, np.sort(drawn).tolist()))
    own = np.array([finding.score for finding in findings], scores.dtype)
    below = (scores < own).mean(axis=0) + (scores == own).mean(axis=0) / 2
    return [float(share) for share in below], len(drawn)


def _record(result: ReportResult, loaded: LoadedCheckpoint, *, seed: int) -> dict[str, Any]:
    return {
        "film": film_record(result.film),
        "notes": result.notes,
        "rule": RULE,
        "sentences": [
            {
                **phrase_record(sentence.finding),
                "share_of_other_films_below": sentence.share_below,
                "finds_nothing": sentence.finds_nothing,
            }
            for sentence in result.sentences
        ],
        "num_other_films": result.num_others,
        "seed": seed,
        "checkpoint": checkpoint_record(loaded),
        "versions": versions(),
        "commit": commit(),
    }
