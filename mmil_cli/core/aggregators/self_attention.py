"""A non-local block over regions, then their mean: the other reading of NL."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import Instances, lowest, uniform, unit, zero_empty


class SelfAttention(Aggregator):
    """g(X, y) = h(z, y), z = mean_n x'_n renormalised, x'_n = x_n + W sum_m softmax_m(<Q x_n, K x_m>) V x_m.

    A non-local block (Wang et al. 2018, arXiv 1711.07971, embedded Gaussian) and average pooling: a second
    reading of the NL of LSE+NL (arXiv 2212.05561) [ours]. x is scaled by sqrt(D) for the layers and the
    products by 1/sqrt(D), as in a transformer.

    Args:
        dim: D of the joint embedding.
    """

    level = Level.GLOBAL
    equation = "h(z, y), z = mean_n x'_n renormalised, x'_n = x_n + W sum_m softmax_m(<Q x_n, K x_m>) V x_m"
    source = "Wang et al. 2018, arXiv 1711.07971; second reading of arXiv 2212.05561 [ours]"
    streams = True
    keeps_one = False

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        return zero_empty(
            instances.score_vector(unit(instances.average(self.block(instances)))),
            instances.mask,
        )

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """1/N: after the block, regions are averaged."""
        return uniform(instances)

    def block(self, instances: Instances) -> Float[Tensor, "image region dim"]:
        """x'."""
        x = instances.regions.to(self.query.weight.dtype) * math.sqrt(self.dim)
        logits = torch.matmul(self.query(x), self.key(x).transpose(1, 2)) / math.sqrt(self.dim)
        attention = logits.masked_fill(~instances.mask[:, None, :], lowest(logits)).softmax(dim=-1)
        mixed = self.out(torch.matmul(attention, self.value(x)))
        return ((x + mixed) / math.sqrt(self.dim)).to(instances.regions.dtype)
