"""A few steps of pretraining itself, to see how fast it goes and what it holds."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmil_cli.config.recipe import Recipe
from mmil_cli.errors import MmilError
from mmil_cli.runtime import pick_device
from mmil_cli.stages import pretrain
from mmil_cli.stages.measure import memory_of_one_run
from mmil_cli.stages.pretrain_run import Progress, Watchers

NOT_COUNTED = 2  # steps in which workers start and caches fill


OFTEN = ("run__save_every", "run__validate_every")
NOTHING_ELSE = {
    "run__save_minutes": 0.0,
    "run__log_to": (),
    "run__keep": "last",
    "run__metric": "loss",
    "run__patience": 0,
}
"""A trial is neither saved, validated nor told to anybody."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What some steps came to.

    Attributes:
        batch_size: films a step.
        chunk: films that an encoder holds at once; 0 for all.
        workers: processes that read films.
        precision: of the encoders.
        steps: counted.
        films_per_second: median over steps.
        waiting: share of their time spent waiting for data.
        memory: bytes at the peak beyond what the process held before, its workers' left out; None where it
            cannot be read.
        fits: whether the memory of the device held it; where not, the numbers before say nothing.
    """

    batch_size: int
    chunk: int
    workers: int
    precision: str
    steps: int
    films_per_second: float
    waiting: float
    memory: int | None
    fits: bool = True


class _Enough(Exception):
    """Ends a trial."""


def changed(recipe: Recipe, **values: Any) -> Recipe:
    """A recipe with other values, named `section__key`."""
    tree = recipe.model_dump()
    for name, value in values.items():
        section, key = name.split("__")
        tree[section][key] = value
    return Recipe.model_validate(tree)


def run_trial(data: Path, recipe: Recipe, *, device: str, steps: int, seconds: float = 20.0) -> Trial:
    """Pretrains for some steps, at most so many seconds once two are counted, and forgets the run.

    Raises:
        UsageError: what pretraining itself refuses, such as a batch larger than the train split.
    """
    seen: list[Progress] = []
    started = time.monotonic()

    def watch(progress: Progress) -> None:
        seen.append(progress)
        counted = len(seen) - NOT_COUNTED
        if counted >= steps or (counted >= 2 and time.monotonic() - started > seconds):
            raise _Enough

    endless = changed(recipe, optim__epochs=10**6, **dict.fromkeys(OFTEN, 10**9), **NOTHING_ELSE)
    fits = True

    def work() -> None:
        nonlocal fits
        with tempfile.TemporaryDirectory() as folder:
            try:
                pretrain.run(
                    data,
                    Path(folder) / "run",
                    recipe=endless,
                    device=device,
                    watchers=Watchers(on_step=watch),
                )
            except _Enough:
                pass
            except MmilError as error:
                if not isinstance(error.__cause__, torch.OutOfMemoryError):
                    raise
                fits = False

    memory = memory_of_one_run(work, pick_device(device))
    return _summary(recipe, seen[NOT_COUNTED:], memory=memory, fits=fits)


def _summary(recipe: Recipe, seen: Sequence[Progress], *, memory: int | None, fits: bool) -> Trial:
    times = [recipe.data.batch_size / progress.films_per_second for progress in seen]
    waited = [progress.waiting * taken for progress, taken in zip(seen, times, strict=True)]
    return Trial(
        batch_size=recipe.data.batch_size,
        chunk=getattr(recipe.data, "chunk", 0),
        workers=recipe.data.workers,
        precision=recipe.run.precision,
        steps=len(seen),
        films_per_second=statistics.median(p.films_per_second for p in seen) if seen else 0.0,
        waiting=sum(waited) / sum(times) if seen else 0.0,
        memory=memory,
        fits=fits,
    )
