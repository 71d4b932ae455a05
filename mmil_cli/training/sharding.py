"""Encoders in shares over the processes of a job, for models beyond one GPU (FSDP2).

Of each weight, its gradient and its moments a process holds a share; a layer's weights are whole only while
it runs. Gradients are summed over processes, as everywhere here (`core.distributed`). What is no encoder,
projections and score, is small, and whole in every process. States on disk are whole, so that a run goes on
with or without shares.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map


def share_out(encoders: Iterable[nn.Module], device: torch.device) -> None:
    """Leaves each process its share of the weights, which must be alike in all before.

    Blocks that an encoder lists (transformer layers, stages of Hugging Face's networks) are gathered one at a
    time; other encoders as a whole.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for encoder in encoders:
        for module in (*_blocks(encoder), encoder):
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
        for unit in _units(encoder):
            unit.set_gradient_divide_factor(1.0)
            unit.set_force_sum_reduction_for_comms(True)  # gloo knows no other way to have a factor


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost lists of modules."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


def _units(module: nn.Module) -> list[FSDPModule]:
    return [unit for unit in module.modules() if isinstance(unit, FSDPModule)]


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """While it lasts every process has the whole weights, so that one may run the model alone."""
    units = _units(model)
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.reshard()
            unit.set_reshard_after_forward(True, recurse=False)


def whole(state: Any) -> Any:
    """A nested state with every share gathered; all processes have to ask for it."""
    return tree_map(lambda value: value.full_tensor() if isinstance(value, DTensor) else value, state)


class HasState(Protocol):
    """What can be saved: a model, an optimiser, or what was gathered of one."""

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        ...


@dataclass(frozen=True)
class Gathered:
    """The whole state of something that lies in shares; empty but in the first process."""

    state: dict[str, Any]

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return self.state


def gather(held: HasState) -> Gathered:
    """The whole state on the CPU, in the first process; all have to ask for it."""
    is_first = dist.get_rank() == 0

    def taken(value: Any) -> Any:
        found = value.full_tensor() if isinstance(value, DTensor) else value
        return (
            found.detach().cpu()
            if is_first and isinstance(found, Tensor)
            else None
            if not is_first
            else found
        )

    return Gathered(tree_map(taken, held.state_dict()))


def shares_of_weights(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A whole state dict as the model holds it; every process has the whole one."""
    held = model.state_dict()
    return {name: _share(value, held[name]) for name, value in state.items()}


def shares_of_moments(state: dict[str, Any], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole state dict of an optimiser as it holds it; every process has the whole one.

    Args:
        state: of one of torch's optimisers.
        groups: its groups of parameters.
    """
    if not any(isinstance(parameter, DTensor) for group in groups for parameter in group["params"]):
        return state
    parameters = [parameter for group in groups for parameter in group["params"]]
    moments = {
        number: {name: _share(value, parameters[number]) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": moments}


def _share(value: Any, held: Tensor) -> Any:
    """A tensor in the shares of another of its shape; anything else as it is."""
    if not isinstance(held, DTensor) or not isinstance(value, Tensor) or value.shape != held.shape:
        return value
    there = value.to(held.device)
    return distribute_tensor(there, held.device_mesh, held.placements, src_data_rank=None)


def alike(group: dict[str, Any]) -> list[dict[str, Any]]:
    """A group of parameters as one of whole ones and one of shares: no optimiser takes both together."""
    shared = [parameter for parameter in group["params"] if isinstance(parameter, DTensor)]
    own = [parameter for parameter in group["params"] if not isinstance(parameter, DTensor)]
    return [{**group, "params": own}, {**group, "params": shared}]


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """`torch.nn.utils.clip_grad_norm_`, also where some gradients lie in shares; the norm before clipping."""
    found = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in found if parameter.grad is not None]
    shared = [gradient for gradient in gradients if isinstance(gradient, DTensor)]
    if not shared:
        return nn.utils.clip_grad_norm_(found, limit, error_if_nonfinite=False)
    own = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    of_shared = nn.utils.get_total_norm(shared)
    assert isinstance(of_shared, DTensor)
    norm = torch.hypot(of_shared.full_tensor(), nn.utils.get_total_norm(own))
    factor = min(1.0, limit / (norm.item() + 1e-6))
    for gradient in gradients:
        gradient.mul_(factor)
    return norm
