"""What the evaluation stages share: model and dataset opened together, films in blocks, provenance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmil_cli.build import load_checkpoint
from mmil_cli.checkpoint import Checkpoint
from mmil_cli.config.recipe import Recipe
from mmil_cli.core.model import ImageFeatures
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.inference import Embedder
from mmil_cli.runtime import commit, versions

FILMS_IN_BLOCK = 512  # regions of so many films are held at once

OnProgress = Callable[[int, int], None]
"""Told how many films are done, of how many."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A model and the dataset it is tried on.

    Attributes:
        embedder: runs the model.
        checkpoint: where the model comes from.
        recipe: it was trained with.
        dataset: the films and reports.
        is_of_bags: whether the model was trained on all films of a study as one bag.
    """

    embedder: Embedder
    checkpoint: Checkpoint
    recipe: Recipe
    dataset: StudyDataset
    is_of_bags: bool = False

    def notes(self, split: str | None) -> tuple[str, ...]:
        """Sentences that the reader of a result must know."""
        found = []
        stored, trained = self.dataset.info.side, self.embedder.contract.stored_side
        if stored != trained:
            found.append(
                f"the films of this dataset are stored at {stored} pixels, those of the training at {trained}"
            )
        if split == "train" and self.dataset.info.content_hash == self.checkpoint.card.dataset_hash:
            found.append("the model was trained on these very films; its figures say nothing about new ones")
        if self.is_of_bags:
            found.append("the model learned from all films of a study as one bag; here each film is its own")
        return tuple(found)

    def blocks(
        self, rows: np.ndarray, *, on_progress: OnProgress | None = None
    ) -> Iterator[tuple[slice, ImageFeatures]]:
        """Features of rows of the dataset, some at a time, with their places among `rows`."""
        for start in range(0, len(rows), FILMS_IN_BLOCK):
            part = slice(start, min(start + FILMS_IN_BLOCK, len(rows)))
            told = parts_of(len(rows), before=start, on_progress=on_progress)
            yield part, self.embedder.dataset(self.dataset, rows[part].tolist(), on_progress=told)

    def provenance(
        self, *, split: str | None, seed: int | None, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a result depends on, without anything that names the machine."""
        card = self.checkpoint.card
        return {
            "checkpoint": {
                "folder": "/".join(self.checkpoint.folder.resolve().parts[-2:]),
                "stage": card.stage,
                "step": card.step,
                "seed": card.seed,
                "score": self.recipe.score.expression,
                "dataset_hash": card.dataset_hash,
            },
            "dataset": {
                "folder": self.dataset.folder.resolve().name,
                "content_hash": self.dataset.info.content_hash,
                "counts": {name: asdict(counts) for name, counts in self.dataset.info.counts.items()},
            },
            "split": split or "all",
            "seed": seed,
            "options": dict(options),
            "versions": versions(),
            "commit": commit(),
        }


def open_evaluation(data: Path, *, checkpoint: Path, device: str = "auto") -> Evaluation:
    """The model of a checkpoint or run folder, and a dataset folder.

    Raises:
        DataError: there is no dataset folder.
        CheckpointError: the checkpoint is incomplete.
    """
    dataset = StudyDataset.open(data)
    loaded = load_checkpoint(checkpoint, device=device)
    return Evaluation(
        embedder=loaded.embedder,
        checkpoint=loaded.checkpoint,
        recipe=loaded.recipe,
        dataset=dataset,
        is_of_bags=loaded.recipe.data.films == "bag",
    )


def parts_of(total: int, *, before: int, on_progress: OnProgress | None) -> OnProgress | None:
    """Progress of one part of a longer way of `total` films, `before` of which earlier parts have done."""
    if on_progress is None:
        return None
    told = on_progress
    return lambda done, _: told(before + done, total)


def join(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Blocks of rows [n, K] as one array; [0, 0] of no blocks."""
    return np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)
