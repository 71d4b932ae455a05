"""A term of a score: what pools its instances, what its scores are trained by, and the scale in between."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.aggregators.aggregator import Aggregator
from mmil_cli.core.aggregators.instances import Instances
from mmil_cli.core.losses.reducer import LOCAL, Reducer
from mmil_cli.core.scales import TARGET_REGIONS, Mode, Scale, Setting, effective_number, read_scales
from mmil_cli.errors import UsageError

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.01, 10.0  # CLIP clamps its logit scale at 100
DEFAULT_TEMPERATURE = 0.07


class Term(nn.Module):
    """One aggregator with its objective, logit scale and weight.

    Args:
        aggregator: pools instances into one score for each image and sentence.
        objective: what the term's matrix of logits is trained by.
        temperature: scores are divided by it; the logit scale is its inverse. `auto` holds the effective
            number of reports that an image's softmax spreads over at the wanted one, else at the square root
            of their number [ours].
        weight: of the term, in the loss and in the ranking score.
    """

    def __init__(
        self, aggregator: Aggregator, *, objective: nn.Module, temperature: Setting, weight: float = 1.0
    ) -> None:
        super().__init__()
        if not (math.isfinite(weight) and weight > 0):
            raise UsageError(f"the weight of a term must be a finite number above 0, not {weight:g}")
        self.aggregator = aggregator
        self.objective = objective
        self.scale = Scale(_inverted(temperature), name="temperature", default=1 / DEFAULT_TEMPERATURE)
        self.weight = weight

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """What a score is multiplied by before the objective: 1 / temperature, at most 100."""
        return self.scale()

    @property
    def calibrates(self) -> list[Scale]:
        """The scales of the aggregator that are `auto`."""
        scales = [module for module in self.aggregator.modules() if isinstance(module, Scale)]
        return [scale for scale in scales if scale.mode is Mode.AUTO]

    def calibrate(self, instances: Instances, reducer: Reducer = LOCAL) -> None:
        """A step of calibration of every scale of the aggregator that is `auto`, on the images of the job."""
        for scale in self.calibrates:
            scale.calibrate(
                lambda: effective_number(self.aggregator.weights(instances), reducer),
                target=scale.setting.target or TARGET_REGIONS,
            )

    def calibrate_temperature(self, scores: Float[Tensor, "image report"], reducer: Reducer = LOCAL) -> None:
        """A step of calibration of the temperature, if it is `auto`, on the images of the job."""
        if self.scale.mode is Mode.AUTO:
            self.scale.calibrate(
                lambda: effective_number((self.scale() * scores).softmax(dim=1).unsqueeze(2), reducer),
                target=self.scale.setting.target or math.sqrt(scores.shape[1]),
            )

    def readings(self, instances: Instances) -> dict[str, Tensor]:
        """For the log: every scale, and the effective number of regions e^H of the aggregator's weights."""
        spread = effective_number(self.aggregator.weights(instances))
        return {
            "logit_scale": self.logit_scale,
            **read_scales(self.aggregator),
            "effective_regions": spread,
        }


@dataclass(frozen=True, kw_only=True)
class TermScores:
    """One term's scores of every image with every report, and what makes logits of them."""

    scores: Float[Tensor, "image report"]
    logit_scale: Float[Tensor, ""]

    @property
    def logits(self) -> Float[Tensor, "image report"]:
        """logit_scale x scores."""
        return self.logit_scale * self.scores


def _inverted(temperature: Setting) -> Setting:
    """The setting of the logit scale, which is 1 / temperature; faults are told in temperatures."""
    start = DEFAULT_TEMPERATURE if temperature.start is None else temperature.start
    for value in (temperature.start, temperature.low, temperature.high):
        if value is not None and not LOWEST_TEMPERATURE <= value <= HIGHEST_TEMPERATURE:
            raise UsageError(
                f"a temperature must lie between {LOWEST_TEMPERATURE:g} and {HIGHEST_TEMPERATURE:g}, "
                f"not {value:g}"
            )
    if temperature.mode is Mode.LEARNED and not temperature.low <= start <= temperature.high:
        raise UsageError(
            f"temperature: low <= start <= high must hold, not low={temperature.low:g}, start={start:g}, "
            f"high={temperature.high:g}"
        )
    return Setting(
        mode=temperature.mode,
        start=None if temperature.start is None else 1 / temperature.start,
        low=1 / temperature.high,
        high=1 / temperature.low,
        target=temperature.target,
    )
