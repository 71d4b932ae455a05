"""Noisy-or: at least one region shows it."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import Instances, fill_padding, softmax_over_regions, zero_empty
from mmil_cli.core.aggregators.probability import RegionLogit


class NoisyOr(Aggregator):
    """g(X, y) = 1 - prod_n (1 - p_n), p_n = sigmoid(a h(x_n, y) + b); in (0, 1).

    Maron and Lozano-Perez 1998. As a sum: 1 - exp(-sum_n softplus(logit_n)), because log(1 - p) =
    -softplus(logit). More regions make it larger, copies too.
    """

    level = Level.LOCAL
    equation = "1 - prod_n (1 - p_n), p_n = sigmoid(a h(x_n, y) + b)"
    source = "Maron and Lozano-Perez 1998, diverse density"
    keeps_one = False
    keeps_copies = False

    def __init__(self) -> None:
        super().__init__()
        self.logit = RegionLogit(adds_up=True)

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        doubts = fill_padding(F.softplus(self.logit(instances.scores)), instances.mask, 0.0)
        return zero_empty(-torch.expm1(-doubts.sum(dim=1)), instances.mask)

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """In proportion to p_n."""
        return softmax_over_regions(F.logsigmoid(self.logit(instances.scores)), instances.mask)
