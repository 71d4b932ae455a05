"""AdamW with weight decay where it belongs, and a learning rate that is a function of the step."""

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW


def make_optimiser(groups: Iterable[tuple[Iterable[nn.Parameter], float]], *, weight_decay: float) -> AdamW:
    """AdamW over groups of (parameters, peak learning rate).

    Weight decay is for weights of two axes or more: norms, biases and scales keep their size.
    """
    settings = []
    for parameters, peak in groups:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        decayed = [parameter for parameter in trained if parameter.dim() >= 2]
        kept = [parameter for parameter in trained if parameter.dim() < 2]
        settings.append({"params": decayed, "lr": peak, "peak_lr": peak, "weight_decay": weight_decay})
        settings.append({"params": kept, "lr": peak, "peak_lr": peak, "weight_decay": 0.0})
    return AdamW([setting for setting in settings if setting["params"]], fused=True)


def learning_rate_factor(step: int, *, num_steps: int, warmup_steps: int) -> float:
    """Share of the peak learning rate at a step, 0-based: a linear rise, then half a cosine down to 0."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_learning_rate(optimiser: AdamW, factor: float) -> None:
    """Gives every group its peak learning rate times the factor."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak_lr"] * factor
