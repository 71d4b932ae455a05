"""The state a run is resumed from: weights, optimiser and step, in one file that is whole or absent."""

import functools
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmil_cli import __version__
from mmil_cli.errors import CheckpointError, UsageError
from mmil_cli.files import write_atomic
from mmil_cli.training.optim import Optimiser

SavedState = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """What must be the same for a run to be resumed.

    Attributes:
        recipe: text of the resolved recipe.
        dataset_hash: content hash of the dataset.
        version: of mmil; other code may mean other layers and another order.
    """

    recipe: str
    dataset_hash: str
    version: str = __version__


WORDS = {"recipe": "recipe", "dataset_hash": "dataset", "version": "version of mmil"}


def save_state(
    path: Path, *, model: nn.Module, optimiser: Optimiser, step: int, identity: RunIdentity
) -> None:
    """Writes the state after `step` steps; the older state stays until the new one is whole."""
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "identity": vars(identity),
    }
    buffer = io.BytesIO()  # written by Python: where the disk is full, torch raises a RuntimeError of its own
    torch.save(state, buffer)
    write_atomic(path, lambda partial: partial.write_bytes(buffer.getbuffer()))


def load_state(
    path: Path,
    *,
    model: nn.Module,
    optimiser: Optimiser,
    identity: RunIdentity,
    from_first: Callable[[Callable[[], SavedState | None]], SavedState | None] = lambda read: read(),
) -> int:
    """Restores a saved state and returns how many steps it has behind it; 0 where there is none.

    Args:
        path: of the state.
        model: gets its weights.
        optimiser: gets its moments.
        identity: of the run to go on with.
        from_first: reads the file in the first of several processes, for all of them.

    Raises:
        UsageError: the state belongs to another recipe, dataset or version.
        CheckpointError: the file is damaged.
    """
    state = from_first(functools.partial(_read_of_run, path, identity))
    if state is None:
        return 0
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _read_of_run(path: Path, identity: RunIdentity) -> SavedState | None:
    """A saved state on the CPU, None where there is none."""
    if not path.exists():
        return None
    state = _read(path)
    for name, value in vars(identity).items():
        if state["identity"].get(name) != value:
            raise UsageError(
                f"{path.parent} holds an unfinished run of another {WORDS[name]}; "
                "give another --out, or --overwrite to start anew"
            )
    return state


def _read(path: Path) -> SavedState:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} is damaged; remove it to start the run anew") from error
