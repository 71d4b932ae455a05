"""The generalised (power) mean of instance probabilities."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import (
    Instances,
    count,
    fill_padding,
    lowest,
    softmax_over_regions,
    zero_empty,
)
from mmil_cli.core.aggregators.probability import RegionLogit
from mmil_cli.core.scales import SOFTEST, Scale, ScaleLike


class GeneralisedMean(Aggregator):
    """g(X, y) = ( (1/N) sum_n p_n^r )^(1/r), p_n = sigmoid(a h(x_n, y) + b); in (0, 1).

    The mean at r = 1, the maximum as r -> infinity. Computed in the log domain.

    Args:
        gamma: r, at least 0.01.
    """

    level = Level.LOCAL
    equation = "( (1/N) sum_n p_n^r )^(1/r), p_n = sigmoid(a h(x_n, y) + b)"
    source = "power mean; for MIL see Babenko 2008"
    keeps_one = False

    def __init__(self, *, gamma: ScaleLike = 3.0) -> None:
        super().__init__()
        self.logit = RegionLogit(adds_up=False)
        self.gamma = Scale(gamma, name="gm: gamma", default=3.0, lowest=SOFTEST)

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        power = self.gamma()
        powers = power * F.logsigmoid(self.logit(instances.scores))
        total = fill_padding(powers, instances.mask, lowest(powers)).logsumexp(dim=1)
        log_mean = zero_empty(total - count(instances).log(), instances.mask)
        return zero_empty((log_mean / power).exp(), instances.mask)

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """In proportion to p_n^r (1 - p_n)."""
        logits = self.logit(instances.scores)
        log_slope = self.gamma() * F.logsigmoid(logits) + F.logsigmoid(-logits)
        return softmax_over_regions(log_slope, instances.mask)
