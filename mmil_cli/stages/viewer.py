"""What the viewer answers: films of a dataset, and where and how strongly a phrase is found in them."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from mmil_cli.config.prompts import load_prompts
from mmil_cli.core.bags import RegionBag, one_sentence_reports
from mmil_cli.data.dataset import Row, StudyDataset
from mmil_cli.data.fit import FittedFilm
from mmil_cli.data.geometry import Affine, Box
from mmil_cli.data.maps import grid_to_film
from mmil_cli.errors import UsageError
from mmil_cli.stages.evaluation import Evaluation, OnProgress
from mmil_cli.stages.ground import check_phrases
from mmil_cli.stages.ground_film import LEAST_OF_REGION
from mmil_cli.stages.similarity import find_boxes
from mmil_cli.viz.map_levels import MapLevels, map_levels, map_size

NUM_OTHERS = 100
"""Films, at most, that a phrase's score is held against."""

NUM_SENTENCES = 128
"""Sentences of their reports, at most, that set the scale of the colours and tell what a score means."""

CACHED_FILMS = 16
LONGEST_PHRASE = 1000
LIKELY = 2 / 3
"""From this chance on a phrase is called likely, and unlikely up to one less it."""

Item = TypeVar("Item")


class Verdict(StrEnum):
    """Whether a phrase is true of a film, as far as the model goes."""

    LIKELY = "likely"
    UNCLEAR = "unclear"
    UNLIKELY = "unlikely"
    UNKNOWN = "not known"


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What the model makes of a phrase in a film.

    Attributes:
        phrase: as given.
        score: logit of the film with the phrase as a report of one sentence.
        chance: that a phrase of this score is of the film's own report rather than of another's, were both
            asked equally often [ours]: logistic in the score, fitted to sentences of other films. NaN where
            there are none, or the score does not tell them apart.
        num_below: other films with a lower score, ties counted half.
        num_others: films of other patients that the score was held against.
        unknown_words: share of the phrase's tokens that the model's vocabulary does not know.
        is_cut: the phrase has more tokens than the model reads; its end did not count.
        map: similarity over the film on the viewer's scale.
        boxes: around what stands out of it, in pixels of the stored film, the highest first.
    """

    phrase: str
    score: float
    chance: float
    num_below: float
    num_others: int
    unknown_words: float
    is_cut: bool
    map: MapLevels
    boxes: tuple[Box, ...]

    @property
    def verdict(self) -> Verdict:
        """By the chance."""
        if math.isnan(self.chance):
            return Verdict.UNKNOWN
        if self.chance >= LIKELY:
            return Verdict.LIKELY
        return Verdict.UNLIKELY if self.chance <= 1 - LIKELY else Verdict.UNCLEAR

    def notes(self) -> list[str]:
        """What to say beside the verdict: how the score stands among others, and what was not read."""
        below = f"{self.num_below:.0f} of {self.num_others}"
        notes = [f"This film fits the phrase better than {below} films of other patients do."]
        if not self.num_others:
            notes = ["There is no film of another patient to compare with."]
        if self.verdict is Verdict.UNKNOWN:
            notes.append("The scores of this model do not tell whether a phrase is likely.")
        if self.unknown_words:
            notes.append(f"The model does not know {self.unknown_words:.0%} of these words.")
        if self.is_cut:
            notes.append("Too long for the model: the end did not count.")
        return notes


@dataclass(frozen=True, eq=False)
class _Encoded:
    regions: RegionBag
    fitted: FittedFilm
    row: Row


class Viewer:
    """A model and the films of a dataset; may be asked from several threads.

    Args:
        evaluation: both.
        on_progress: told of the other films, which are encoded first.
    """

    def __init__(self, evaluation: Evaluation, *, on_progress: OnProgress | None = None) -> None:
        self.embedder, self.dataset = evaluation.embedder, evaluation.dataset
        self.lock = threading.Lock()
        self._films: OrderedDict[int, _Encoded] = OrderedDict()
        self.others = evenly(_compared_with(self.dataset), NUM_OTHERS)
        self._regions = self.embedder.dataset(self.dataset, self.others, on_progress=on_progress).regions
        self._patients = np.array([self.dataset.row(row).patient_id for row in self.others])
        own = [set(self.dataset.row(row).sentences) for row in self.others]
        phrases = evenly(list(dict.fromkeys(text for texts in own for text in texts)), NUM_SENTENCES)
        self._chance = self._calibrate(phrases, own)
        self.low, self.high = self._scale(phrases or _findings())

    @cache  # noqa: B019 - there is one viewer in a process
    def names(self, column: str) -> np.ndarray:
        """A text column of the dataset."""
        return self.dataset.column(column)

    def row(self, index: int) -> Row:
        """What is known of a film.

        Raises:
            UsageError: there is no such film.
        """
        if not 0 <= index < len(self.dataset):
            raise UsageError(
                f"this dataset has {len(self.dataset)} films, numbered from 0; there is no film {index}"
            )
        return self.dataset.row(index)

    def open(self, index: int) -> None:
        """Encodes a film, unless it is one of the last that were.

        Raises:
            UsageError: there is no such film.
        """
        self.row(index)
        with self.lock:
            self._encoded(index)

    def ask(self, index: int, phrase: str) -> Answer:
        """Where and how strongly a phrase is found in a film.

        Raises:
            UsageError: there is no such film, or the phrase has no words or too many letters.
        """
        check_phrases([phrase])
        if len(phrase) > LONGEST_PHRASE:
            raise UsageError(f"the phrase has {len(phrase)} letters; ask with at most {LONGEST_PHRASE}")
        self.row(index)
        with self.lock:
            return self._answer(self._encoded(index), phrase)

    def _answer(self, film: _Encoded, phrase: str) -> Answer:
        sentences = self.embedder.sentences([phrase])
        report = one_sentence_reports(sentences)
        score = float(self.embedder.logits(film.regions, report)[0, 0])
        others = self.embedder.logits(self._regions, report)[:, 0]
        others = others[torch.from_numpy(self._patients != film.row.patient_id)]
        grid = self.embedder.maps(film.regions, sentences)[0, 0].float().numpy()
        values = self._on_film(film, grid)
        return Answer(
            phrase=phrase,
            score=score,
            chance=self._chance(score),
            num_below=float((others < score).sum() + 0.5 * (others == score).sum()),
            num_others=len(others),
            unknown_words=self.embedder.tokenizer.unknown_share([phrase]),
            is_cut=self.embedder.tokenizer.is_cut(phrase),
            map=map_levels(values, low=self.low, high=self.high),
            boxes=_boxes(values, film.row, int((~np.isnan(grid)).sum())),
        )

    def _on_film(self, film: _Encoded, grid: np.ndarray) -> np.ndarray:
        height, width = map_size(film.row.height, film.row.width)
        shrink = Affine(scale_x=width / film.row.width, scale_y=height / film.row.height)
        return grid_to_film(
            grid,
            size=self.embedder.contract.size,
            to_film=film.fitted.to_stored.then(shrink),
            height=height,
            width=width,
            centre=film.regions.cell_centre,
        )

    def _encoded(self, index: int) -> _Encoded:
        """The film's regions; the lock is held."""
        if index not in self._films:
            fitted = self.embedder.fit(self.dataset.pixels(index))
            regions = self.embedder.films([fitted]).regions
            self._films[index] = _Encoded(regions, fitted, self.dataset.row(index))
            while len(self._films) > CACHED_FILMS:
                self._films.popitem(last=False)
        self._films.move_to_end(index)
        return self._films[index]

    def _calibrate(self, phrases: Sequence[str], own: Sequence[Collection[str]]) -> Callable[[float], float]:
        """What a score means: the chance that its phrase is of the film's own report, as `Answer.chance`."""
        truth = np.array([[phrase in texts for phrase in phrases] for texts in own], bool).ravel()
        if truth.all() or not truth.any():
            return lambda _: math.nan
        report = one_sentence_reports(self.embedder.sentences(phrases))
        scores = self.embedder.logits(self._regions, report).double().numpy().ravel()
        centre, spread = float(scores.mean()), float(scores.std()) or 1.0
        fitted = LogisticRegression(class_weight="balanced").fit((scores[:, None] - centre) / spread, truth)
        slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
        if slope <= 0:
            return lambda _: math.nan
        return lambda score: float(expit(slope * (score - centre) / spread + offset))

    def _scale(self, phrases: Sequence[str]) -> tuple[float, float]:
        """Median and 99.5th percentile of similarities in other films: one scale for all answers."""
        maps = self.embedder.maps(self._regions, self.embedder.sentences(phrases)).float().numpy()
        seen = maps[np.isfinite(maps)]
        low, high = (float(end) for end in np.quantile(seen, (0.5, 0.995))) if seen.size else (0.0, 1.0)
        return (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the items, first and last among them, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _compared_with(dataset: StudyDataset) -> list[int]:
    """Films that a score is held against: those that were not trained on, where there are any."""
    splits = [name for name in dataset.splits if name != "train"] or list(dataset.splits)
    return [int(row) for name in splits for row in dataset.indices(name)]


def _findings() -> list[str]:
    """Phrases for a dataset without reports."""
    return [text for pair in load_prompts("chexpert").values() for text in pair.positive]


def _boxes(values: np.ndarray, row: Row, num_regions: int) -> tuple[Box, ...]:
    """Boxes of a map [h, w] of any size, of so many regions with film, in pixels of the stored film."""
    height, width = values.shape
    seen = int((~np.isnan(values)).sum())
    back = Affine(scale_x=row.width / width, scale_y=row.height / height)
    found = find_boxes(values, smallest=LEAST_OF_REGION * seen / num_regions)
    return tuple(back.box(each.box) for each in found)
