"""Integrated segmentation and recognition: odds add up."""

from jaxtyping import Float
from torch import Tensor

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import (
    Instances,
    fill_padding,
    lowest,
    softmax_over_regions,
    zero_empty,
)
from mmil_cli.core.aggregators.probability import RegionLogit


class ISR(Aggregator):
    """g(X, y) = t / (1 + t), t = sum_n p_n / (1 - p_n), p_n = sigmoid(a h(x_n, y) + b); in (0, 1).

    Keeler, Rumelhart and Leow 1990. The odds of p_n are e^logit_n, so g = sigmoid(logsumexp_n logit_n).
    """

    level = Level.LOCAL
    equation = "t / (1 + t), t = sum_n p_n / (1 - p_n), p_n = sigmoid(a h(x_n, y) + b)"
    source = "Keeler, Rumelhart and Leow 1990"
    keeps_one = False
    keeps_copies = False

    def __init__(self) -> None:
        super().__init__()
        self.logit = RegionLogit(adds_up=True)

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        logits = self.logit(instances.scores)
        total = fill_padding(logits, instances.mask, lowest(logits)).logsumexp(dim=1)
        return zero_empty(total.sigmoid(), instances.mask)

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """In proportion to the odds of p_n."""
        return softmax_over_regions(self.logit(instances.scores), instances.mask)
