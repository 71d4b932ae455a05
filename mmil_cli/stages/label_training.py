"""Training a network on labels: seeded, short, stopped early by the loss on held-out films."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmil_cli.data.batches import Schedule, StepSampler
from mmil_cli.stages.label_sets import LEFT_OUT, LabelSet
from mmil_cli.training.loop import Losses, Plan, StepReport, run_steps
from mmil_cli.training.optim import make_optimiser

BATCH_SIZE = 32
LEAST_STEPS = 100  # also where few labels make short epochs
NUM_LOOKS = 20  # at the held-out films in a run
PATIENCE = 5  # looks without a lower loss
WEIGHT_DECAY = 0.05


@dataclass(frozen=True, kw_only=True)
class LabelledBatch:
    """Some films with their labels.

    Attributes:
        inputs: of the network.
        labels: 0, 1 or NaN [B, F].
        classes: class of each in each further task, or LEFT_OUT [B, T].
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor
    classes: Tensor

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        return replace(
            self,
            inputs=tuple(part.to(device) for part in self.inputs),
            labels=self.labels.to(device),
            classes=self.classes.to(device),
        )


class Inputs(Protocol):
    """What a network reads of the films of a split, by their places in it."""

    def batches(self, sampler: Iterable[Any]) -> Iterable[tuple[Tensor, ...]]:
        """Inputs of batches of (step, place) pairs."""
        ...

    def prepare(
        self, inputs: tuple[Tensor, ...], generator: torch.Generator | None = None
    ) -> tuple[Tensor, ...]:
        """What the network takes; changed at random, as in a step of training, where a generator is given."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How networks are trained.

    Attributes:
        epochs: passes over the labelled films, at most; more where that is fewer than LEAST_STEPS steps.
        rates: peak learning rates to try; the one with the lowest held-out loss is taken.
        device: to train on.
        head_rate: peak learning rate of the network's `head`, which is new on an encoder that is not and has
            far to go in few steps; None for that of the rest.
    """

    epochs: int
    rates: tuple[float, ...]
    device: torch.device
    head_rate: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A trained network.

    Attributes:
        model: with the weights of its best look at the held-out films; of the last step without any.
        loss: on the held-out films; NaN without any.
        rate: the learning rate.
        step: that the weights are of.
    """

    model: nn.Module
    loss: float
    rate: float
    step: int

    def choices(self) -> dict[str, Any]:
        """What was chosen, for a record."""
        on = "nothing: no labelled validation films" if math.isnan(self.loss) else "validate split"
        return {"learning_rate": self.rate, "step": self.step, "chosen_on": on}


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Films of one split for a network: what it reads, and what it is to say."""

    inputs: Inputs
    labels: np.ndarray
    classes: np.ndarray

    @property
    def labelled(self) -> np.ndarray:
        """Places of the films that have any label."""
        return np.flatnonzero((~np.isnan(self.labels)).any(axis=1) | (self.classes >= 0).any(axis=1))

    def batches(self, sampler: StepSampler) -> Iterator[LabelledBatch]:
        """Labelled batches, as the sampler has them."""
        for pairs, inputs in zip(sampler, self.inputs.batches(sampler), strict=True):
            places = [place for _, place in pairs]
            yield LabelledBatch(
                inputs=inputs,
                labels=torch.from_numpy(self.labels[places]).float(),
                classes=torch.from_numpy(self.classes[places]),
            )


def splits_of(labels: LabelSet, train: Inputs, validate: Inputs) -> tuple[Split, Split]:
    """The films to train on and those to choose on, with the labels that may be used."""
    return (
        Split(
            inputs=train, labels=labels.train, classes=_columns([p.train for p in labels.classes], len(train))
        ),
        Split(
            inputs=validate,
            labels=labels.validate,
            classes=_columns([p.validate for p in labels.classes], len(validate)),
        ),
    )


def _columns(parts: list[np.ndarray], length: int) -> np.ndarray:
    return np.stack(parts, axis=1) if parts else np.empty((length, 0), np.int64)


def label_loss(logits: Tensor, batch: LabelledBatch, sizes: tuple[int, ...]) -> Tensor:
    """Mean log loss over the labels there are; that of each further task is added. 0 without any.

    Args:
        logits: of the findings, then of the classes of each task [B, F + sum of sizes].
        batch: with labels.
        sizes: number of classes of each further task.
    """
    num_findings = batch.labels.shape[1]
    known = ~batch.labels.isnan()
    binary = F.binary_cross_entropy_with_logits(
        logits[:, :num_findings], batch.labels.nan_to_num(), reduction="none"
    )
    total = (binary * known).sum() / known.sum().clamp(min=1)
    for place, part in enumerate(logits[:, num_findings:].split(list(sizes), dim=1) if sizes else ()):
        target = batch.classes[:, place]
        loss = F.cross_entropy(part, target.clamp(min=0), reduction="none")
        total = total + (loss * (target >= 0)).sum() / (target >= 0).sum().clamp(min=1)
    return total


def train_network(
    make: Callable[[], nn.Module], train: Split, validate: Split, *, sizes: tuple[int, ...], tuning: Tuning,
    seed: int,
) -> Trained:  # fmt: skip
    """Trains one network for each learning rate, all from the same start, and keeps the best.

    Args:
        make: the network at its start, made anew; random weights of its head follow from torch's random
            state.
        train: to learn from; at least one labelled film.
        validate: to stop and to choose on; without labels there, the first rate and the last step are taken.
        sizes: number of classes of each further task.
        tuning: how.
        seed: of the head, the order and all changes.
    """
    rates = tuning.rates if len(validate.labelled) else tuning.rates[:1]
    best: Trained | None = None
    for rate in rates:
        torch.manual_seed(seed)
        found = _train_once(make(), train, validate, sizes=sizes, tuning=tuning, rate=rate, seed=seed)
        if best is None or found.loss < best.loss:
            best = found
    assert best is not None
    return best


def predict(model: nn.Module, inputs: Inputs, *, device: torch.device) -> np.ndarray:
    """Logits of all films of a split [n, outputs]."""
    model.to(device).eval()
    places = range(len(inputs))
    order = [[(0, place) for place in places[i : i + BATCH_SIZE]] for i in places[::BATCH_SIZE]]
    with torch.inference_mode():
        parts = [
            model(*inputs.prepare(tuple(part.to(device) for part in batch))).float().cpu()
            for batch in inputs.batches(order)
        ]
    return torch.cat(parts).double().numpy() if parts else np.empty((0, 0))


def _train_once(
    model: nn.Module, train: Split, validate: Split, *, sizes: tuple[int, ...], tuning: Tuning, rate: float,
    seed: int,
) -> Trained:  # fmt: skip
    rows = train.labelled
    batch_size = min(BATCH_SIZE, len(rows))
    epochs = max(tuning.epochs, -(-LEAST_STEPS // (len(rows) // batch_size)))
    schedule = Schedule(rows=rows, batch_size=batch_size, epochs=epochs, seed=seed)
    watch = _Watch(model, validate, sizes, tuning.device, every=-(-schedule.num_steps // NUM_LOOKS))
    model.to(tuning.device)

    def objective(batch: LabelledBatch, generator: torch.Generator) -> Losses:
        logits = model(*train.inputs.prepare(batch.inputs, generator))
        return Losses(total=label_loss(logits.float(), batch, sizes), parts={})

    run_steps(
        watch.until_done(train.batches(schedule.from_step(0))),
        model=model,
        optimiser=make_optimiser(_groups(model, rate, tuning.head_rate), weight_decay=WEIGHT_DECAY),
        objective=objective,
        plan=Plan(
            num_steps=schedule.num_steps, warmup_steps=schedule.num_steps // 20, grad_clip=1.0, seed=seed
        ),
        first_step=0,
        device=tuning.device,
        after_step=watch.after_step,
    )
    return watch.result(rate, last_step=schedule.num_steps)


def _groups(
    model: nn.Module, rate: float, head_rate: float | None
) -> list[tuple[Iterable[nn.Parameter], float]]:
    """Parameters with their learning rates."""
    if head_rate is None:
        return [(model.parameters(), rate)]
    head = list(model.get_submodule("head").parameters())
    new = {id(parameter) for parameter in head}
    return [(head, head_rate), ([p for p in model.parameters() if id(p) not in new], rate)]


class _Watch:
    """Looks at the held-out films now and then, keeps the best weights, and says when to stop."""

    def __init__(
        self, model: nn.Module, validate: Split, sizes: tuple[int, ...], device: torch.device, *, every: int
    ) -> None:
        self.model, self.validate, self.sizes, self.device, self.every = model, validate, sizes, device, every
        self.has_labels = len(validate.labelled) > 0
        self.best, self.best_step, self.looks_since = float("nan"), 0, 0
        self.weights: dict[str, Tensor] | None = None

    def until_done(self, batches: Iterable[LabelledBatch]) -> Iterator[LabelledBatch]:
        """The batches until the loss has not fallen for PATIENCE looks."""
        for batch in batches:
            if self.looks_since >= PATIENCE:
                return
            yield batch

    def after_step(self, report: StepReport) -> None:
        """Looks, if it is time to."""
        if not self.has_labels or report.step % self.every:
            return
        loss = self._loss()
        self.looks_since += 1
        if not loss >= self.best:  # the first one too, for nothing compares with NaN
            self.best, self.best_step, self.looks_since = loss, report.step, 0
            self.weights = copy.deepcopy(self.model.state_dict())

    def result(self, rate: float, *, last_step: int) -> Trained:
        """The network with its best weights."""
        if self.weights is not None:
            self.model.load_state_dict(self.weights)
        step = self.best_step if self.weights is not None else last_step
        return Trained(model=self.model, loss=self.best, rate=rate, step=step)

    def _loss(self) -> float:
        """Over all labels of the held-out films at once."""
        logits = torch.from_numpy(predict(self.model, self.validate.inputs, device=self.device))
        everything = LabelledBatch(
            inputs=(),
            labels=torch.from_numpy(self.validate.labels).double(),
            classes=torch.from_numpy(self.validate.classes),
        )
        return float(label_loss(logits, everything, self.sizes))


def has_every_class(column: np.ndarray, num_classes: int) -> bool:
    """Whether a column of labels (NaN or LEFT_OUT where there is none) has films of all classes."""
    return len(np.unique(column[column > LEFT_OUT])) == num_classes
