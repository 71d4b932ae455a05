"""Retrieve: how well films find the reports of their studies, and reports their films."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.files import make_folder, write_json
from mmil_cli.metrics.intervals import row_blocks
from mmil_cli.metrics.retrieval import RetrievalTable, join_ranks, match_ranks, rank_table
from mmil_cli.stages.evaluation import OnProgress, open_evaluation
from mmil_cli.stages.gallery import ReportScorer, numbers, score_films, study_reports

FILE_NAME = "retrieve.json"
KS = (1, 5, 10)


@dataclass(frozen=True, kw_only=True)
class RetrieveResult:
    """Retrieval on a split, both ways.

    A match is a report of the film's own study, or one of identical words.

    Attributes:
        image_to_text: films as queries, the split's distinct reports as gallery.
        text_to_image: the reports as queries, the films as gallery.
        notes: what the reader must know.
        provenance: what the figures depend on.
        record: the JSON file that holds all of this.
    """

    image_to_text: RetrievalTable
    text_to_image: RetrievalTable
    notes: tuple[str, ...]
    provenance: Mapping[str, Any]
    record: Path


@dataclass(frozen=True, eq=False)
class _Keys:
    """Study, words and patient of films or of reports; equal numbers are equal values."""

    study: np.ndarray
    text: np.ndarray
    patient: np.ndarray

    @classmethod
    def of(cls, dataset: StudyDataset, rows: np.ndarray) -> "_Keys":
        """Those of some rows; numbers compare between calls on one dataset."""
        return cls(*(numbers(dataset, name)[rows] for name in ("study_id", "text_key", "patient_id")))


def run(
    data: Path,
    *,
    checkpoint: Path,
    out: Path,
    split: str | None = "test",
    seed: int = 0,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> RetrieveResult:
    """R@1, R@5, R@10, median and mean rank both ways, with chance and bootstrap intervals by patient.

    Args:
        data: dataset folder.
        checkpoint: checkpoint or run folder.
        out: folder for `retrieve.json`.
        split: whose films and reports are queries and gallery; None for all.
        seed: of the bootstrap.
        device: auto, cpu or cuda.
        on_progress: told of films.

    Raises:
        UsageError: there is no such split.
    """
    evaluation = open_evaluation(data, checkpoint=checkpoint, device=device)
    dataset = evaluation.dataset
    rows = dataset.indices(split)
    gallery = study_reports(dataset, rows)
    scorer = ReportScorer(evaluation.embedder, gallery.reports)
    make_folder(out)
    scores = score_films(evaluation, rows, scorer, on_progress=on_progress)
    films, reports = _Keys.of(dataset, rows), _Keys.of(dataset, gallery.rows)
    result = RetrieveResult(
        image_to_text=_table(scores, films, reports, seed=seed),
        text_to_image=_table(scores.T, reports, films, seed=seed),
        notes=evaluation.notes(split),
        provenance=evaluation.provenance(split=split, seed=seed, options={}),
        record=out / FILE_NAME,
    )
    write_json(result.record, _as_json(result))
    return result


def _table(scores: np.ndarray, queries: _Keys, gallery: _Keys, *, seed: int) -> RetrievalTable:
    """The figures of one direction, a block of queries at a time."""
    ranks = [
        match_ranks(
            scores[block],
            (queries.study[block, None] == gallery.study) | (queries.text[block, None] == gallery.text),
        )
        for block in row_blocks(*scores.shape)
    ]
    return rank_table(join_ranks(ranks), groups=queries.patient, ks=KS, seed=seed)


def _as_json(result: RetrieveResult) -> dict[str, Any]:
    content = asdict(result)
    del content["record"]
    return {"match": "same study, or identical words", **content}
