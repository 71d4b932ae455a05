"""The state a run is resumed from: weights, optimiser and step, in one file that is whole or absent."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mmil_cli.errors import CheckpointError, UsageError
from mmil_cli.files import write_atomic


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """What must be the same for a run to be resumed.

    Attributes:
        recipe: text of the resolved recipe.
        dataset_hash: content hash of the dataset.
    """

    recipe: str
    dataset_hash: str


def save_state(
    path: Path, *, model: nn.Module, optimiser: Optimizer, step: int, identity: RunIdentity
) -> None:
    """Writes the state after `step` steps; the older state stays until the new one is whole."""
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "identity": vars(identity),
    }
    write_atomic(path, lambda partial: torch.save(state, partial))


def load_state(path: Path, *, model: nn.Module, optimiser: Optimizer, identity: RunIdentity) -> int:
    """Restores a saved state and returns how many steps it has behind it; 0 where there is none.

    Raises:
        UsageError: the state belongs to another recipe or dataset.
        CheckpointError: the file is damaged.
    """
    if not path.exists():
        return 0
    state = _read(path)
    for name, value in vars(identity).items():
        if state["identity"][name] != value:
            what = "recipe" if name == "recipe" else "dataset"
            raise UsageError(
                f"{path.parent} holds an unfinished run of another {what}; "
                "give another --out, or --overwrite to start anew"
            )
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} is damaged; remove it to start the run anew") from error
