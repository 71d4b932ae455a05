"""Attention over regions with the sentence as its query."""

import torch
from jaxtyping import Float
from torch import Tensor

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import Instances, softmax_over_regions, unit, zero_empty
from mmil_cli.core.scales import Scale, ScaleLike


class CrossAttention(Aggregator):
    """g(X, y) = h(z, y), z = sum_n softmax_n(gamma h(x_n, y)) x_n renormalised.

    The attention of GLoRIA (Huang et al. 2021) and SCAN (Lee et al. 2018, arXiv 1803.08024) with the whole
    sentence as the query. gamma = 0 scores the average region, gamma -> infinity is the maximum.

    Args:
        gamma: sharpness of the attention, >= 0, per unit of the instance score.
    """

    level = Level.GLOBAL
    equation = "h(z, y), z = sum_n softmax_n(gamma h(x_n, y)) x_n renormalised"
    source = "GLoRIA (Huang et al. 2021), SCAN (arXiv 1803.08024), sentence as query [ours]"

    def __init__(self, *, gamma: ScaleLike = 5.0) -> None:
        super().__init__()
        self.gamma = Scale(gamma, name="cross-attention: gamma", default=5.0)

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        weights = self.weights(instances).to(instances.regions.dtype)  # a critic may be more precise
        pooled = torch.einsum("bnu,bnd->bud", weights, instances.regions)
        scores = instances.critic.aligned(unit(pooled), instances.sentences.features)
        return zero_empty(scores, instances.mask)

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """softmax_n(gamma h(x_n, y))."""
        return softmax_over_regions(self.gamma() * instances.scores, instances.mask)
