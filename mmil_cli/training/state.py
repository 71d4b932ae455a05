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
from mmil_cli.config.compare import differences
from mmil_cli.errors import CheckpointError, UsageError
from mmil_cli.files import write_atomic
from mmil_cli.training.optim import Optimiser
from mmil_cli.training.sharding import HasState, shares_of_moments, shares_of_weights

SavedState = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """What must be the same for a run to be resumed.

    Attributes:
        recipe: text of what decides the run (`config.compare.deciding`).
        dataset_hash: content hash of the dataset.
        version: of mmil; other code may mean other layers and another order.
    """

    recipe: str
    dataset_hash: str
    version: str = __version__


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """What a saved state knows beside the weights.

    Attributes:
        step: steps it has behind it; 0 where there is no state.
        is_validated: whether all that is to be done after that step was done.
        best: the best validation so far, see `Contest`.
        since: validations since then.
    """

    step: int = 0
    is_validated: bool = True
    best: float | None = None
    since: int = 0


WORDS = {"recipe": "recipe", "dataset_hash": "dataset", "version": "version of mmil"}


def save_state(
    path: Path, *, model: HasState, optimiser: HasState, reached: Resumed, identity: RunIdentity
) -> None:
    """Writes the state that a run has reached; the older state stays until the new one is whole."""
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "reached": vars(reached),
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
) -> Resumed:
    """Restores a saved state and returns how far it has come; no steps where there is none.

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
        return Resumed()
    model.load_state_dict(shares_of_weights(state["model"], model))
    optimiser.load_state_dict(shares_of_moments(state["optimiser"], optimiser.param_groups))
    return Resumed(**state["reached"])


def _read_of_run(path: Path, identity: RunIdentity) -> SavedState | None:
    """A saved state on the CPU, None where there is none."""
    if not path.exists():
        return None
    state = _read(path)
    for name, value in vars(identity).items():
        there = state["identity"].get(name)
        if there != value:
            how = f" ({differences(there, value)})" if name == "recipe" else ""
            raise UsageError(
                f"{path.parent} holds an unfinished run of another {WORDS[name]}{how}; "
                "give another --out, or --overwrite to start anew"
            )
    return state


def _read(path: Path) -> SavedState:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} is damaged; remove it to start the run anew") from error
