"""Batch norms that came folded into their convolutions, and how they get statistics again.

For inference the statistics of a batch norm are often folded into the weights before it; what is left is a
norm with mean 0 and variance 1. In evaluation it computes what it should. Trained with batch statistics, the
network suddenly is another one, and the loss stays at chance.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

CLOSE = 1e-2  # folding leaves 1 - eps or the like
PLACES = (0, 2, 3)


def has_folded_norms(network: nn.Module) -> bool:
    """Whether there are batch norms and all have mean 0 and variance 1, as no film ever gave them."""
    norms = _norms(network)
    return bool(norms) and all(
        not norm.running_mean.any() and ((norm.running_var - 1).abs() < CLOSE).all()  # type: ignore[union-attr, operator]
        for norm in norms
    )


@torch.no_grad()
def measure_norms(network: nn.Module, run: Callable[[], object]) -> int:
    """Gives every batch norm the statistics of its input, and scale and shift that leave its function alone.

    y = a x + b stays as it is with a = gamma / sqrt(var + eps) and b = beta - a mean, where mean and var are
    now those of x; only then does training with batch statistics start from the same function.

    Args:
        network: changed in place.
        run: sends films through the network in evaluation mode.

    Returns:
        How many batch norms there are.
    """
    norms = _norms(network)
    seen: dict[nn.Module, Tensor] = {}

    def watch(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0].double()
        count = torch.full_like(x[0, :, 0, 0], x.numel() / x.shape[1])
        sums = torch.stack([count, x.sum(dim=PLACES), x.square().sum(dim=PLACES)])
        seen[norm] = seen.get(norm, 0) + sums

    hooks = [norm.register_forward_pre_hook(watch) for norm in norms]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    for norm in norms:
        _set_statistics(norm, *seen[norm])
    return len(norms)


def _set_statistics(norm: nn.BatchNorm2d, count: Tensor, total: Tensor, squares: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean = total / count
    var = (squares / count - mean.square()).clamp(min=0)
    slope = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - slope * norm.running_mean
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(var)
    norm.weight.copy_(slope * (var + norm.eps).sqrt())
    norm.bias.copy_(shift + slope * mean)


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
