"""AdamW with weight decay where it belongs, Muon for matrices, and a rate that is a function of the step."""

import math
from collections.abc import Collection, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from mmil_cli.training.sharding import alike

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
UPDATE_RMS = 0.2  # of AdamW's updates, roughly: with it one learning rate serves both


class Optimiser(Protocol):
    """What the loop and the saved state need of an optimiser."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of parameters with their settings."""
        ...

    def zero_grad(self, set_to_none: bool = ...) -> None:
        """Forgets all gradients."""

    def step(self) -> Any:
        """Changes the parameters by their gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Everything to resume from."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores it."""


class Muon(Optimizer):
    """Momentum whose update is made orthogonal, matrix by matrix (Jordan et al. 2024, "Muon").

    M <- mu M + G and W <- W - rate 0.2 sqrt(max(m, n)) O, where O has the singular vectors of G + mu M
    (Nesterov) and singular values near 1: all directions of a matrix learn at one speed, also those whose
    gradient is small. The factor gives O the size of an AdamW update (Liu et al. 2025, arXiv 2502.16982).
    A convolution is the matrix of its filters, for which torch's own Muon has no place. Weight decay is
    decoupled, as in AdamW.

    Args:
        groups: as torch has them; each with `lr` and `weight_decay`, every parameter of two axes or more.
        momentum: mu; 0.9 and not the 0.95 of the source, for runs of some hundred steps [ours].
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, momentum: float = 0.9) -> None:
        super().__init__(groups, {"momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].mul_(group["momentum"]).add_(gradient)
        update = orthogonalise(gradient.add(momentum, alpha=group["momentum"]).flatten(1))
        rate = group["lr"] * UPDATE_RMS * math.sqrt(max(update.shape))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(update.view_as(parameter), alpha=rate)


def orthogonalise(matrix: Tensor, *, steps: int = 5) -> Tensor:
    """U V^T of a matrix U S V^T [m, n], to singular values between 0.6 and 1.3; a matrix of zeros stays zero.

    The quintic Newton-Schulz iteration of Jordan et al. 2024, X <- P X with P = a + b X X^T + c (X X^T)^2,
    whose constants trade exactness for speed. Singular values below a thousandth of the norm stay small.
    Every P is a polynomial in the first X X^T, so the iteration is carried out on that square matrix of the
    shorter side, and X itself is multiplied twice instead of ten times [ours].
    """
    a, b, c = NEWTON_SCHULZ
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / x.norm().clamp(min=torch.finfo(x.dtype).tiny)
    gram = x @ x.T
    one = torch.eye(len(gram), dtype=x.dtype, device=x.device)
    product = one
    for _ in range(steps):
        polynomial = a * one + (b * one + c * gram) @ gram
        product = polynomial @ product
        gram = polynomial @ gram @ polynomial
    x = product @ x
    return x.T if is_tall else x


class Optimisers:
    """Several optimisers as one.

    Args:
        parts: each with parameters of its own.
    """

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of all parts, in their order."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """One step of every part."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts, in their order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores every part."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


def make_optimiser(
    groups: Iterable[tuple[Iterable[nn.Parameter], float]],
    *,
    weight_decay: float,
    by_muon: Collection[nn.Parameter] = (),
) -> Optimiser:
    """AdamW over groups of (parameters, peak learning rate), and Muon over those of them that are named.

    Weight decay is for weights of two axes or more: norms, biases and scales keep their size.
    """
    chosen = {id(parameter) for parameter in by_muon}
    adamw, muon = [], []
    for parameters, peak in groups:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        decayed = [parameter for parameter in trained if parameter.dim() >= 2]
        kept = [parameter for parameter in trained if parameter.dim() < 2]
        rate = {"lr": peak, "peak_lr": peak}
        muon.append({"params": [p for p in decayed if id(p) in chosen], "weight_decay": weight_decay, **rate})
        adamw.append(
            {"params": [p for p in decayed if id(p) not in chosen], "weight_decay": weight_decay, **rate}
        )
        adamw.append({"params": kept, "weight_decay": 0.0, **rate})
    rest = AdamW([part for group in adamw for part in alike(group) if part["params"]], fused=True)
    return Optimisers(Muon([group for group in muon if group["params"]]), rest) if chosen else rest


def matrices_of(model: nn.Module) -> list[nn.Parameter]:
    """What Muon is for: weights of two axes or more, but for tables, of which a step touches a few rows."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    return [p for p in model.parameters() if p.dim() >= 2 and p.requires_grad and id(p) not in tables]


def learning_rate_factor(step: int, *, num_steps: int, warmup_steps: int) -> float:
    """Share of the peak learning rate at a step, 0-based: a linear rise, then half a cosine down to 0."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_learning_rate(optimiser: Optimiser, factor: float) -> None:
    """Gives every group its peak learning rate times the factor."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak_lr"] * factor
