"""Reports to rank and the score of every film with every one of them, in blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mmil_cli.core.bags import RegionBag, SentenceBag
from mmil_cli.core.model import ImageFeatures
from mmil_cli.core.sentences import held_sentences
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.inference import Embedder
from mmil_cli.stages.evaluation import Evaluation, OnProgress

REPORTS_IN_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Gallery:
    """Reports of a dataset, each once.

    Attributes:
        rows: a row of the dataset that carries each report.
        counts: how many studies carry its words.
        reports: sentences of each.
    """

    rows: np.ndarray
    counts: np.ndarray
    reports: tuple[tuple[str, ...], ...]


def study_reports(dataset: StudyDataset, rows: np.ndarray) -> Gallery:
    """One report a study (should rows of a study differ in words, each of its texts), in their order.

    Raises:
        UsageError: the dataset has no reports.
    """
    dataset.require_reports()
    keys = np.stack([numbers(dataset, name)[rows] for name in ("study_id", "text_key")], axis=1)
    first = np.sort(np.unique(keys, axis=0, return_index=True)[1])
    return Gallery(rows[first], np.ones(len(first), np.int64), _sentences(dataset, rows[first]))


def distinct_texts(dataset: StudyDataset, rows: np.ndarray) -> Gallery:
    """One report a text, whatever number of studies has it, in their order."""
    studies = study_reports(dataset, rows)
    texts = numbers(dataset, "text_key")[studies.rows]
    _, first, counts = np.unique(texts, return_index=True, return_counts=True)
    order = np.argsort(first)
    chosen = first[order]
    return Gallery(studies.rows[chosen], counts[order], tuple(studies.reports[i] for i in chosen))


def numbers(dataset: StudyDataset, column: str) -> np.ndarray:
    """A number for each value of a text column, equal for equal values, all rows."""
    return np.unique(dataset.column(column), return_inverse=True)[1]


class ReportScorer:
    """Scores films against reports; every distinct sentence is encoded once, memory is bounded by blocks.

    Args:
        embedder: runs the model.
        reports: sentences of each report, or reports that are encoded already.
    """

    def __init__(self, embedder: Embedder, reports: Sequence[Sequence[str]] | SentenceBag) -> None:
        self.embedder = embedder
        self.bag = reports if isinstance(reports, SentenceBag) else embedder.reports(reports)

    def __len__(self) -> int:
        return self.bag.index.shape[0]

    def scores(self, films: ImageFeatures) -> np.ndarray:
        """The model's score of each film with each report, float32 [B, R]."""
        return self.scores_of(films.regions)

    def scores_of(self, regions: RegionBag) -> np.ndarray:
        """The same of films that are regions already."""
        blocks = [self.embedder.logits(regions, block).numpy() for block in self._blocks()]
        return np.concatenate(blocks, axis=1)

    def some(self, reports: slice) -> "ReportScorer":
        """The same of some of the reports, which are not encoded again."""
        return ReportScorer(self.embedder, self.bag[reports])

    def vectors(self) -> np.ndarray:
        """One vector a report, float32 [R, D]: the mean of its sentences, not normalised; zeros of none."""
        index = self.bag.index
        features = self.bag.sentences.features.float()
        total = torch.zeros(len(index), features.shape[1])
        for slot in index.T:  # one sentence of each report at a time: no R x M x D tensor
            total[slot >= 0] += features[slot[slot >= 0]]
        return (total / (index >= 0).sum(dim=1, keepdim=True).clamp(min=1)).numpy()

    def _blocks(self) -> Iterator[SentenceBag]:
        """Some reports at a time, with only the sentences they hold."""
        for index in self.bag.index.split(REPORTS_IN_BLOCK):
            held, renumbered = held_sentences(index)
            yield SentenceBag(sentences=self.bag.sentences[held], index=renumbered)


def score_films(
    evaluation: Evaluation, rows: np.ndarray, scorer: ReportScorer, *, on_progress: OnProgress | None = None
) -> np.ndarray:
    """Scores of rows of the dataset with every report, float32 [rows, R]."""
    scores = np.empty((len(rows), len(scorer)), np.float32)
    for part, films in evaluation.blocks(rows, on_progress=on_progress):
        scores[part] = scorer.scores(films)
    return scores


def _sentences(dataset: StudyDataset, rows: np.ndarray) -> tuple[tuple[str, ...], ...]:
    return tuple(dataset.row(int(row)).sentences for row in rows)
