"""Runs whose encoders lie in shares over the processes: what must be whole, and when."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mmil_cli.config.recipe import Recipe
from mmil_cli.core.batch_norm import across_processes
from mmil_cli.core.model import DualEncoder
from mmil_cli.errors import UsageError
from mmil_cli.stages.pretrain_keep import Keeper
from mmil_cli.training.optim import Optimiser
from mmil_cli.training.processes import Processes
from mmil_cli.training.sharding import gather, gathered, share_out


def refuse_shares(recipe: Recipe, processes: int) -> None:
    """Refuses to share encoders out where that cannot be.

    Raises:
        UsageError: there is one process, or an optimiser that needs whole matrices.
    """
    if not recipe.run.shard:
        return
    if processes == 1:
        raise UsageError("run.shard shares encoders out over processes; start several with torchrun")
    if recipe.optim.optimiser == "muon":
        raise UsageError("run.shard keeps a share of each matrix, and muon needs it whole; use adamw")


def place_model(model: DualEncoder, processes: Processes, *, shard: bool) -> None:
    """Moves a model to the device of this process, or its share of both encoders."""
    if processes.size > 1:
        across_processes(model)
    model.to(processes.device)
    if shard:
        processes.share_weights(model)  # shares are of what is alike in all
        share_out([model.image_encoder, model.text_encoder], processes.device)
    else:
        model.image_encoder.to(memory_format=torch.channels_last)


@contextmanager
def whole_in_first(
    model: DualEncoder, optimiser: Optimiser, keeper: Keeper | None, *, shard: bool
) -> Iterator[None]:
    """While it lasts the first process can save the model and run it alone; all processes have to enter.

    Args:
        model: to be saved and run.
        optimiser: of it.
        keeper: the first process's; None in the others.
        shard: whether encoders lie in shares; otherwise there is nothing to do.
    """
    if not shard:
        yield
        return
    weights, moments = gather(model), gather(optimiser)
    if keeper is not None:
        keeper.model, keeper.optimiser = weights, moments
    with gathered(model):
        yield
