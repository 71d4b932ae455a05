"""Scales: the gammas of aggregators and the logit scales of objectives; fixed, learned, or calibrated."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.grammar import Call, parse_call
from mmil_cli.core.losses.reducer import LOCAL, Reducer
from mmil_cli.errors import UsageError, nearest

LOWEST, HIGHEST = 0.1, 100.0  # of scales that are learned or calibrated, unless said otherwise
TARGET_REGIONS = 8.0
SOFTEST = 0.01  # of what a log-sum-exp is divided by: below it, float32 rounding drowns the quotient
SHARPEST = 1e6  # of scales that are fixed
NUDGE = 0.05  # of the log scale a step, per log of what the effective number is off
BISECTIONS = 25


class Mode(StrEnum):
    """How a scale comes to its value."""

    FIXED = "fixed"
    LEARNED = "learned"
    AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a scale is to be set.

    Attributes:
        mode: fixed, learned by gradient, or calibrated to `target`.
        start: value at the start; None for the default of whoever asks.
        low: smallest value.
        high: largest value.
        target: wanted effective number, in mode auto.
    """

    mode: Mode = Mode.FIXED
    start: float | None = None
    low: float = LOWEST
    high: float = HIGHEST
    target: float | None = None


ScaleLike = float | str | Call | Setting
"""5, `learned`, `learned(start=5, low=1, high=50)`, `auto`, `auto(regions=8)`, or a Setting."""


class Scale(nn.Module):
    """A positive number that sharpens a softmax; calling it gives its value.

    - *fixed*: a constant (0 and any other finite value that its owner allows).
    - *learned*: the logarithm is a parameter, held within [low, high] after every step [ours]; the bounds
      stop what CLIP stops by its clamp at 100.
    - *auto*: calibrated so that the softmax it sharpens spreads over a wanted effective number of choices.
      That number is e^H, H being the entropy of the weights in nats, averaged over bags: 1 for a maximum, N
      for a mean. It falls as the scale grows, so the first batch is solved by bisection; every later step
      moves the log scale by 5 % of the log of what is off, for the features go on moving [ours]. It is a
      buffer: saved with the model, unchanged in evaluation.

    Args:
        setting: how it is set.
        name: for errors, such as `lse: gamma`.
        default: where a learned scale without a start begins.
        lowest: smallest value allowed.
        auto: whether it can be calibrated: whether it decides how many choices its softmax spreads over.
    """

    log_value: Tensor
    is_calibrated: Tensor
    constant: Tensor

    def __init__(
        self, setting: ScaleLike, *, name: str, default: float, lowest: float = 0.0, auto: bool = True
    ) -> None:
        super().__init__()
        self.setting = read_setting(setting, name=name)
        start = _start(self.setting, default)
        _check(self.setting, start, name=name, lowest=lowest, auto=auto)
        if self.mode is Mode.LEARNED:
            self.log_value = nn.Parameter(torch.tensor(math.log(start)))
        elif self.mode is Mode.AUTO:
            self.register_buffer("log_value", torch.tensor(math.log(start)))
            self.register_buffer("is_calibrated", torch.tensor(False))
        else:
            self.register_buffer("constant", torch.tensor(float(start)), persistent=False)

    @property
    def mode(self) -> Mode:
        """How it comes to its value."""
        return self.setting.mode

    def forward(self) -> Float[Tensor, ""]:
        """The value."""
        if self.mode is Mode.FIXED:
            return self.constant
        # Of the data: a clamp of the parameter would void what this step has saved for its backward pass.
        self.log_value.data.clamp_(math.log(self.setting.low), math.log(self.setting.high))
        return self.log_value.exp()

    @torch.no_grad()
    def calibrate(self, effective_number: Callable[[], Tensor], *, target: float) -> None:
        """One step of calibration; `effective_number` is read at the scale's present value."""
        wanted = math.log(target)
        if not self.is_calibrated:
            self._bisect(effective_number, wanted)
            self.is_calibrated.fill_(True)
        else:
            self.log_value.add_(NUDGE * (effective_number().log() - wanted))

    def _bisect(self, effective_number: Callable[[], Tensor], wanted: float) -> None:
        low, high = math.log(self.setting.low), math.log(self.setting.high)
        for _ in range(BISECTIONS):
            self.log_value.fill_((low + high) / 2)
            if effective_number().log() > wanted:
                low = (low + high) / 2
            else:
                high = (low + high) / 2


def effective_number(
    weights: Float[Tensor, "image region sentence"], reducer: Reducer = LOCAL
) -> Float[Tensor, ""]:
    """e^H of weights over regions, averaged over pairs of an image and a sentence; 1 to N.

    Pairs without weights, of an image without regions or a sentence without words, do not count; without any
    pair it is 1.

    Args:
        weights: of the images of this process; 0 for padding.
        reducer: finishes the average over the images of all processes.
    """
    numbers = torch.special.entr(weights).sum(dim=1)[weights.sum(dim=1) > 0].exp()
    total, count = reducer.sum(torch.stack([numbers.sum(), numbers.new_tensor(numbers.numel())]))
    return torch.where(count > 0, total / count.clamp(min=1), 1.0)


def read_scales(part: nn.Module) -> dict[str, Float[Tensor, ""]]:
    """The value of every scale of a part, by its name there."""
    scales = {name: module for name, module in part.named_modules() if isinstance(module, Scale)}
    return {name.replace(".", "_"): scale() for name, scale in scales.items()}


def read_setting(
    value: ScaleLike, *, name: str, counted: str = "regions", low: float = LOWEST, high: float = HIGHEST
) -> Setting:
    """A setting from what stands in a score expression.

    Args:
        value: as it stands there.
        name: of the scale, for errors.
        counted: the argument of `auto`: what the effective number is of.
        low: smallest value, if nothing else is said.
        high: largest value, if nothing else is said.

    Raises:
        UsageError: a word or an argument that means nothing here.
    """
    if isinstance(value, Setting):
        return value
    if isinstance(value, int | float):
        return Setting(start=float(value), low=low, high=high)
    call = parse_call(value) if isinstance(value, str) else value
    options = {Mode.LEARNED: ("start", "low", "high"), Mode.AUTO: (counted, "low", "high")}
    known = [str(mode) for mode in options]
    if call.name not in known:
        raise UsageError(
            f"{name} must be a number, learned or auto, not {call.name!r}{nearest(call.name, known)}"
        )
    mode = Mode(call.name)
    wrong = [key for key, given in call.arguments.items()
             if key not in options[mode] or not isinstance(given, float)]  # fmt: skip
    if wrong:
        raise UsageError(f"{name}: {mode} takes numbers for {', '.join(options[mode])}, not {wrong[0]!r}")
    numbers: dict[str, Any] = {"low": low, "high": high, **call.arguments}
    target = numbers.pop(counted, None)
    return Setting(mode=mode, target=target, **numbers)


def _start(setting: Setting, default: float) -> float:
    """Where a scale begins; one that is calibrated looks for its own place, from any that is allowed."""
    if setting.start is not None:
        return setting.start
    return min(max(default, setting.low), setting.high) if setting.mode is Mode.AUTO else default


def _check(setting: Setting, start: float, *, name: str, lowest: float, auto: bool) -> None:
    if setting.mode is Mode.FIXED:
        if not lowest <= start <= SHARPEST:
            raise UsageError(f"{name} must be a number from {lowest:g} to {SHARPEST:g}, not {start:g}")
        return
    if setting.mode is Mode.AUTO and not auto:
        raise UsageError(f"{name} must be a number or learned: there is nothing to calibrate it by")
    low = max(lowest, SOFTEST)
    if not low <= setting.low <= start <= setting.high <= SHARPEST:
        raise UsageError(
            f"{name}: {low:g} <= low <= start <= high <= {SHARPEST:g} must hold, not low={setting.low:g}, "
            f"start={start:g}, high={setting.high:g}"
        )
    if setting.target is not None and not 1 <= setting.target < math.inf:
        raise UsageError(f"{name}: the wanted effective number must be 1 or more, not {setting.target:g}")
