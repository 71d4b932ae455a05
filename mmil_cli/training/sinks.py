"""Where the numbers of the log go besides: TensorBoard and Weights & Biases, both optional extras."""

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from mmil_cli.errors import UsageError

TENSORBOARD = "tensorboard"


class Sink(Protocol):
    """Takes the numbers of a line of the log."""

    def write(self, kind: str, step: int, numbers: Mapping[str, float]) -> None:
        """One line: its kind (train, validate), its step and what is measured."""

    def close(self) -> None:
        """Nothing more comes."""


class TensorBoard:
    """Event files in `tensorboard/` of the run folder; `tensorboard --logdir RUN` shows them.

    Args:
        folder: of the run.
        first_step: a resumed run writes all steps after this one again.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        _needed("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=first_step + 1)

    def write(self, kind: str, step: int, numbers: Mapping[str, float]) -> None:
        """One scalar a number, named kind/number."""
        for name, number in numbers.items():
            self.writer.add_scalar(f"{kind}/{name}", number, step)

    def close(self) -> None:
        """Writes what is still buffered."""
        self.writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, named after the run folder; its own WANDB_ variables say where it goes.

    The same command again goes on with the same run.

    Args:
        folder: of the run.
        recipe: text of the recipe, which is kept with it.
        dataset_hash: of the dataset.
    """

    def __init__(self, folder: Path, *, recipe: str, dataset_hash: str) -> None:
        name = folder.resolve().name
        digest = hashlib.blake2b(f"{name}\0{recipe}\0{dataset_hash}".encode(), digest_size=8).hexdigest()
        config = {"recipe": recipe, "dataset_hash": dataset_hash}
        self.run = _needed("wandb").init(
            project="mmil", name=name, id=digest, resume="allow", dir=str(folder), config=config
        )

    def write(self, kind: str, step: int, numbers: Mapping[str, float]) -> None:
        """All numbers of a line at its step, named kind/number."""
        self.run.log({f"{kind}/{name}": number for name, number in numbers.items()}, step=step)

    def close(self) -> None:
        """Ends the run there."""
        self.run.finish()


def open_sinks(
    names: Sequence[str], folder: Path, *, first_step: int, recipe: str, dataset_hash: str
) -> list[Sink]:
    """The sinks of a recipe.

    Raises:
        UsageError: one is not installed.
    """
    sinks: list[Sink] = []
    for name in names:
        if name == TENSORBOARD:
            sinks.append(TensorBoard(folder, first_step=first_step))
        else:
            sinks.append(WeightsAndBiases(folder, recipe=recipe, dataset_hash=dataset_hash))
    return sinks


def refuse_missing(names: Sequence[str]) -> None:
    """Looks for what the sinks need, before long work begins.

    Raises:
        UsageError: one is not installed.
    """
    for name in names:
        _needed(name)


def numbers_of(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of the values that are numbers."""
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def _needed(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"run.log_to: {name} is not installed; install it (pip install {name}), or leave it out: "
            "log.jsonl has all numbers too"
        ) from error
