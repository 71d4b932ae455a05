"""What a pretrain run tells while it goes on: lines of the log, warnings, and whoever watches."""

import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from mmil_cli.data.batches import Schedule
from mmil_cli.training.alarms import Alarms
from mmil_cli.training.log import Entry, RunLog
from mmil_cli.training.loop import Plan, StepReport
from mmil_cli.training.sharding import whole

TOWERS = {"image": "image_encoder", "text": "text_encoder"}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One step of the run, for whoever watches.

    Attributes:
        step: steps done.
        num_steps: of the run.
        loss: of the step.
        films_per_second: of the step.
        waiting: share of the step spent waiting for data.
    """

    step: int
    num_steps: int
    loss: float
    films_per_second: float
    waiting: float


@dataclass(frozen=True, kw_only=True)
class Watchers:
    """Callbacks of a run; by default nobody watches."""

    on_step: Callable[[Progress], None] = lambda _: None
    on_validation: Callable[[Entry], None] = lambda _: None
    on_note: Callable[[str], None] = lambda _: None


class Journal:
    """The log of a run with what is averaged between its lines.

    Args:
        log: open for the steps to come.
        model: whose gradients are read.
        plan: of the loop.
        schedule: of the films.
        films_a_step: of all processes, on average.
        watchers: told of steps, validations and warnings.
        log_every: steps between lines.
        device: whose memory is read.
    """

    def __init__(
        self,
        log: RunLog,
        *,
        model: nn.Module,
        plan: Plan,
        schedule: Schedule,
        films_a_step: float,
        watchers: Watchers,
        log_every: int,
        device: torch.device,
    ) -> None:
        self.log, self.model, self.watchers = log, model, watchers
        self.alarms = Alarms(num_steps=plan.num_steps, warmup_steps=plan.warmup_steps)
        self.num_steps, self.steps_per_epoch = plan.num_steps, schedule.steps_per_epoch
        self.films_a_step = films_a_step
        self.log_every, self.device = log_every, device
        self._steps, self._seconds, self._waited = 0, 0.0, 0.0

    def step(self, report: StepReport, gradients: Mapping[str, float] | None = None) -> None:
        """Tells of a step, and writes a line if one is due.

        Args:
            report: of the step.
            gradients: the norm of each tower's; None to read them from the model.
        """
        self._steps += 1
        self._seconds += report.seconds
        self._waited += report.waiting * report.seconds
        self.watchers.on_step(
            Progress(
                step=report.step,
                num_steps=self.num_steps,
                loss=report.loss,
                films_per_second=self.films_a_step / report.seconds,
                waiting=report.waiting,
            )
        )
        if report.step % self.log_every == 0 or report.step == self.num_steps:
            self._line(report, gradients)
            self._steps, self._seconds, self._waited = 0, 0.0, 0.0

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes the metrics of a validation."""
        self.watchers.on_validation(self.log.write("validate", step, **metrics))
        self._warn(step, self.alarms.validation(step, metrics))

    def _line(self, report: StepReport, gradients: Mapping[str, float] | None) -> None:
        readings = report.readings()
        if gradients is None:
            gradients = tower_gradients(self.model, clipped=report.clipped)
        self.log.write(
            "train",
            report.step,
            epoch=round(report.step / self.steps_per_epoch, 3),
            loss=report.loss,
            **report.parts,
            **readings,
            learning_rate=report.learning_rate,
            grad_norm=report.grad_norm,
            **{f"grad_norm_{name}": norm for name, norm in gradients.items()},
            films_per_second=round(self._steps * self.films_a_step / self._seconds, 1),
            waiting=round(self._waited / self._seconds, 4),
            memory_mib=round(peak_memory(self.device) / 2**20),
        )
        self._warn(
            report.step, self.alarms.training(report.step, {**readings, "loss": report.loss}, gradients)
        )

    def _warn(self, step: int, warnings: list[str]) -> None:
        for text in warnings:
            self.log.write("warning", step, text=text)
            self.watchers.on_note(f"step {step}: {text}")


def tower_gradients(model: nn.Module, *, clipped: float) -> dict[str, float]:
    """The norm of each encoder's gradient before it was clipped; of no encoder that is frozen whole.

    Where encoders lie in shares, all processes have to ask for it.

    Args:
        model: with its gradients.
        clipped: what they were multiplied by.
    """
    norms = {}
    for name, part in TOWERS.items():
        trained = [p for p in model.get_submodule(part).parameters() if p.requires_grad]
        grads = [p.grad for p in trained if p.grad is not None]
        if trained:
            norms[name] = whole(nn.utils.get_total_norm(grads)).item() / clipped if grads else 0.0
    return norms


def peak_memory(device: torch.device) -> int:
    """Bytes held at most so far: on a GPU by tensors, else resident of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
