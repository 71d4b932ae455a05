"""Batches of films and reports for training: which rows come when, and how they become tensors."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from mmil_cli.data.dataset import Row, StudyDataset
from mmil_cli.data.fit import Fit, FittedFilm, fit_film
from mmil_cli.data.sides import is_turned, turned_film, turned_row
from mmil_cli.data.studies import Bags
from mmil_cli.data.tokenizer import SentenceTokenizer

TextUnit = Literal["sentence", "report"]
"""What the text encoder reads as one: each sentence, or the report whole."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The rows of each step's batch that one process has.

    Attributes:
        first: place of its first row in the batch of the step.
        last: place after its last row.
        num_rows: rows of the batch in all processes together.
    """

    first: int
    last: int
    num_rows: int

    @property
    def rows(self) -> slice:
        """Its places in the batch."""
        return slice(self.first, self.last)

    @property
    def is_whole(self) -> bool:
        """Whether the batch is in one process."""
        return self.last - self.first == self.num_rows


@dataclass(frozen=True, kw_only=True)
class FilmPlaces:
    """As `Part`, for films of bags: the places of some films among all that a batch might hold.

    Attributes:
        rows: their places [F].
        num_rows: places there are.
    """

    rows: Tensor
    num_rows: int


def whole_batch(num_rows: int) -> Part:
    """The part of a process that has all rows."""
    return Part(first=0, last=num_rows, num_rows=num_rows)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B reports with their films, one or more each; row b of each tensor belongs to row b of the others.

    Attributes:
        films: uint8 [F, size, size]; F = B unless reports have several films.
        cover: where each film lies in its square [F, 4], as `FittedFilm.cover`.
        bag: the report of each film [F], ascending.
        slot: place of each film among those of its report [F].
        tokens: ids of the distinct sentences [U, T].
        token_mask: True for real tokens [U, T].
        sentence: a number for each of them [U].
        sentence_index: distinct sentences of each report [B, M], -1 pads.
        study: a number for each study [B].
        text: a number for each distinct normalised report [B].

    These numbers are the same in every batch and every process.
    """

    films: Tensor
    cover: Tensor
    bag: Tensor
    slot: Tensor
    tokens: Tensor
    token_mask: Tensor
    sentence: Tensor
    sentence_index: Tensor
    study: Tensor
    text: Tensor

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        return type(self)(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory, so that it travels to a GPU while it computes."""
        return Batch(**{name: value.pin_memory() for name, value in vars(self).items()})


def epoch_order(num_rows: int, *, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch: a pure function of seed and epoch."""
    return np.random.default_rng([seed, epoch]).permutation(num_rows)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Which rows make up each step of a run; the last, incomplete batch of an epoch is left out.

    Attributes:
        rows: dataset rows to draw from.
        batch_size: rows a step.
        epochs: passes over the rows.
        seed: of the order.
    """

    rows: np.ndarray
    batch_size: int
    epochs: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Complete batches in an epoch."""
        return len(self.rows) // self.batch_size

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    def from_step(self, first: int, part: Part | None = None) -> "StepSampler":
        """The batches from a step on, or the part in them that a process has, for a loader to read."""
        return StepSampler(self, first, part or whole_batch(self.batch_size))


@dataclass(frozen=True)
class StepSampler:
    """Batches of (step, row) pairs, so that reading a row may depend on the step and on nothing else."""

    schedule: Schedule
    first: int
    part: Part

    def __len__(self) -> int:
        return self.schedule.num_steps - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        plan, step = self.schedule, self.first
        while step < plan.num_steps:
            epoch, place = divmod(step, plan.steps_per_epoch)
            order = plan.rows[epoch_order(len(plan.rows), seed=plan.seed, epoch=epoch)]
            for start in range(place, plan.steps_per_epoch):
                rows = order[start * plan.batch_size : (start + 1) * plan.batch_size]
                yield [(step, int(row)) for row in rows[self.part.rows]]
                step += 1


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Some films of a study with the sentences drawn from their report."""

    row: Row
    films: tuple[FittedFilm, ...]
    sentences: tuple[str, ...]


class PairReader(torch.utils.data.Dataset[Sample]):
    """Reads (step, row) pairs; of too many films or sentences, some are drawn by seed, step and row.

    With the unit `report` the sentences of a sample are one text. A share `flip` of the studies of a step is
    turned left for right, in film and words.
    """

    def __init__(
        self,
        dataset: StudyDataset,
        *,
        bags: Bags,
        size: int,
        fit: Fit,
        max_sentences: int,
        unit: TextUnit,
        seed: int,
        flip: float = 0.0,
    ) -> None:
        self.dataset = dataset
        self.bags = bags
        self.size = size
        self.fit: Fit = fit
        self.max_sentences = max_sentences
        self.unit: TextUnit = unit
        self.seed = seed
        self.flip = flip

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        step, index = key
        row = self.dataset.row(index)
        films = tuple(
            fit_film(self.dataset.pixels(film), size=self.size, fit=self.fit)
            for film in self.bags.drawn(index, seed=self.seed, step=step)
        )
        if is_turned(self.flip, seed=self.seed, step=step, study=row.study_id):
            row, films = turned_row(row), tuple(map(turned_film, films))
        sentences = row.sentences
        if len(sentences) > self.max_sentences:
            chosen = np.random.default_rng([self.seed, step, index]).permutation(len(sentences))
            sentences = tuple(sentences[i] for i in sorted(chosen[: self.max_sentences]))
        return Sample(row=row, films=films, sentences=as_texts(sentences, unit=self.unit))


class Collate:
    """Makes a batch of samples; each distinct sentence is tokenised, and later encoded, once."""

    def __init__(self, tokenizer: SentenceTokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Tensors of the samples, in their order."""
        distinct, index = number_sentences([sample.sentences for sample in samples])
        tokens, mask = self.tokenizer(distinct)
        films = [film for sample in samples for film in sample.films]
        counts = [len(sample.films) for sample in samples]
        return Batch(
            films=torch.from_numpy(np.stack([film.pixels for film in films])),
            cover=torch.tensor([film.cover for film in films]),
            bag=torch.arange(len(samples)).repeat_interleave(torch.tensor(counts)),
            slot=torch.cat([torch.arange(count) for count in counts]),
            tokens=torch.from_numpy(tokens),
            token_mask=torch.from_numpy(mask),
            sentence=digest_values(distinct),
            sentence_index=torch.from_numpy(index),
            study=digest_values([sample.row.study_id for sample in samples]),
            text=digest_values([sample.row.text_key for sample in samples]),
        )


def as_texts(sentences: Sequence[str], *, unit: TextUnit) -> tuple[str, ...]:
    """The texts of a report that are encoded: its sentences, or all of them as one."""
    return (" ".join(sentences),) if unit == "report" and sentences else tuple(sentences)


def number_sentences(reports: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """The distinct sentences of some reports, and each report as rows of that list [R, M], padded with -1."""
    numbers: dict[str, int] = {}
    longest = max((len(report) for report in reports), default=0)
    index = np.full((len(reports), longest), -1, np.int64)
    for report_index, report in enumerate(reports):
        for slot, sentence in enumerate(report):
            index[report_index, slot] = numbers.setdefault(sentence, len(numbers))
    return list(numbers), index


def number_values(values: Sequence[str]) -> Tensor:
    """Equal values get equal numbers [B]."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(value, len(numbers)) for value in values])


def digest_values(values: Sequence[str]) -> Tensor:
    """63 bits of a digest of each value [B]: equal in any batch and process for equal values, for others not.

    Among a million values the chance of any two alike is 5e-8.
    """
    digests = [hashlib.blake2b(value.encode("utf-8"), digest_size=8).digest() for value in values]
    return torch.tensor([int.from_bytes(digest, "big") >> 1 for digest in digests], dtype=torch.int64)
