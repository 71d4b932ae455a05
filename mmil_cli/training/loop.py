"""The loop: steps of an objective over batches, with exact resume and no knowledge of the model."""

import functools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from mmil_cli.errors import MmilError, NotFinite
from mmil_cli.training.optim import Optimiser, learning_rate_factor, set_learning_rate
from mmil_cli.training.sharding import clip_gradients


class OnDevice(Protocol):
    """A batch that can be moved."""

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""


BatchT = TypeVar("BatchT", bound=OnDevice)


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What an objective gives for a batch.

    Attributes:
        total: the scalar to minimise.
        parts: named numbers for the log, detached.
        readings: what else the log wants, computed only in steps that are logged.
    """

    total: Tensor
    parts: dict[str, Tensor]
    readings: Callable[[], dict[str, Tensor]] = dict


Objective = Callable[[BatchT, torch.Generator], Losses]


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One step as the log has it.

    Attributes:
        step: steps done so far, this one included.
        loss: total loss.
        parts: the named parts of the objective.
        readings: its readings, for who logs this step.
        learning_rate: of the first group.
        grad_norm: before clipping.
        clipped: what the gradients, still there, were multiplied by.
        seconds: wall time of the step, waiting included.
        waiting: share of that time spent waiting for data.
    """

    step: int
    loss: float
    parts: dict[str, float]
    readings: Callable[[], dict[str, float]]
    learning_rate: float
    grad_norm: float
    clipped: float
    seconds: float
    waiting: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the loop goes.

    Attributes:
        num_steps: of the whole run.
        warmup_steps: with rising learning rate.
        grad_clip: largest gradient norm, 0 for none.
        seed: randomness of step s is a function of seed and s alone.
    """

    num_steps: int
    warmup_steps: int
    grad_clip: float
    seed: int


def run_steps(
    batches: Iterable[BatchT],
    *,
    model: nn.Module,
    optimiser: Optimiser,
    objective: Objective[BatchT],
    plan: Plan,
    first_step: int,
    device: torch.device,
    after_step: Callable[[StepReport], bool | None],
    sum_gradients: Callable[[nn.Module], None] = lambda _: None,
) -> None:
    """Trains on the batches of steps `first_step` and later; `after_step` logs, saves and validates.

    It ends early if `after_step` says so with True. Of several processes each has its part of the batches,
    and `sum_gradients` adds up what they found.

    Raises:
        NotFinite: the loss or the gradient is; the model is as it was before that step.
        MmilError: the device has too little memory; the last saved state stays as it is.
    """
    started = time.perf_counter()
    for step, batch in enumerate(batches, start=first_step):
        arrived = time.perf_counter()
        model.train()
        set_learning_rate(
            optimiser, learning_rate_factor(step, num_steps=plan.num_steps, warmup_steps=plan.warmup_steps)
        )
        try:
            losses, grad_norm = _one_step(
                batch.to(device),
                model,
                optimiser,
                objective,
                plan=plan,
                step=step,
                sum_gradients=sum_gradients,
            )
        except torch.OutOfMemoryError as error:
            raise MmilError(
                f"the memory of {device} does not hold step {step + 1}; set data.chunk to fewer films than a "
                "batch has, or lower data.batch_size or image.size"
            ) from error
        finished = time.perf_counter()
        ends = after_step(
            StepReport(
                step=step + 1,
                loss=losses.total.item(),
                parts=_numbers(losses.parts),
                readings=functools.partial(_read, losses),
                learning_rate=optimiser.param_groups[0]["lr"],
                grad_norm=grad_norm,
                clipped=_clip_factor(grad_norm, plan.grad_clip),
                seconds=finished - started,
                waiting=(arrived - started) / (finished - started),
            )
        )
        if ends:
            return
        started = time.perf_counter()


def _one_step(
    batch: BatchT,
    model: nn.Module,
    optimiser: Optimiser,
    objective: Objective[BatchT],
    *,
    plan: Plan,
    step: int,
    sum_gradients: Callable[[nn.Module], None],
) -> tuple[Losses, float]:
    generator = step_generator(plan.seed, step)
    torch.manual_seed(
        int(torch.randint(2**62, (1,), generator=generator))
    )  # dropout has no generator of its own
    before = [buffer.clone() for buffer in model.buffers()]  # a forward pass moves averages
    losses = objective(batch, generator)
    optimiser.zero_grad(set_to_none=True)
    grad_norm = math.nan
    if torch.isfinite(losses.total):
        losses.total.backward()
        sum_gradients(model)
        limit = plan.grad_clip or float("inf")
        grad_norm = clip_gradients(model.parameters(), limit).item()
    if not math.isfinite(grad_norm):
        _put_back(model, before)
        raise _not_finite(losses, grad_norm, step)
    optimiser.step()
    return losses, grad_norm


def _clip_factor(norm: float, limit: float) -> float:
    """What `clip_grad_norm_` multiplies gradients by."""
    return min(1.0, limit / (norm + 1e-6)) if limit else 1.0


def _put_back(model: nn.Module, buffers: list[Tensor]) -> None:
    for buffer, before in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(before)


def _read(losses: Losses) -> dict[str, float]:
    return _numbers(losses.readings())


def _numbers(values: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in values.items()}


def step_generator(seed: int, step: int) -> torch.Generator:
    """The randomness of one step, a function of seed and step."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) & (2**63 - 1))


def _not_finite(losses: Losses, grad_norm: float, step: int) -> NotFinite:
    parts = ", ".join(f"{name} {value.item():g}" for name, value in losses.parts.items())
    what = f"the gradient (norm {grad_norm:g})" if torch.isfinite(losses.total) else f"the loss ({parts})"
    return NotFinite(f"{what} is not finite at step {step + 1}", step=step + 1)
