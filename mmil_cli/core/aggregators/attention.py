"""Attention over regions that asks no sentence: one vector an image, weighted by what the regions are."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import Instances, softmax_over_regions, unit, zero_empty


class Attention(Aggregator):
    """g(X, y) = h(z, y), z = sum_n a_n x_n renormalised, a = softmax_n( w^T tanh(V x_n) ).

    Attention-based deep MIL (Ilse, Tomczak and Welling 2018, arXiv 1802.04712); regions are unit vectors,
    scaled by sqrt(D) for the layers [ours].

    Args:
        dim: D of the joint embedding.
    """

    level = Level.GLOBAL
    equation = "h(z, y), z = sum_n a_n x_n renormalised, a = softmax_n( w^T tanh(V x_n) )"
    source = "Ilse, Tomczak and Welling 2018, arXiv 1802.04712"
    streams = True

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.content = nn.Linear(dim, dim)
        self.weight = nn.Linear(dim, 1, bias=False)

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        pooled = (self.attention(instances) * instances.regions).sum(dim=1)
        return zero_empty(instances.score_vector(unit(pooled)), instances.mask)

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """a, the same for every sentence."""
        return self.attention(instances).expand(-1, -1, len(instances.sentences))

    def attention(self, instances: Instances) -> Float[Tensor, "image region 1"]:
        """a."""
        inputs = instances.regions.to(self.weight.weight.dtype) * self.dim**0.5
        logits = self.weight(self.features(inputs)).to(instances.regions.dtype)
        return softmax_over_regions(logits, instances.mask)

    def features(self, inputs: Float[Tensor, "image region dim"]) -> Float[Tensor, "image region dim"]:
        """tanh(V x)."""
        return torch.tanh(self.content(inputs))


class GatedAttention(Attention):
    """The same with a = softmax_n( w^T (tanh(V x_n) * sigmoid(U x_n)) ).

    Gated attention of the same paper (arXiv 1802.04712).
    """

    equation = "h(z, y), z = sum_n a_n x_n renormalised, a = softmax_n( w^T (tanh(V x_n) * sigmoid(U x_n)) )"

    def __init__(self, *, dim: int) -> None:
        super().__init__(dim=dim)
        self.gate = nn.Linear(dim, dim)

    def features(self, inputs: Float[Tensor, "image region dim"]) -> Float[Tensor, "image region dim"]:
        """tanh(V x) * sigmoid(U x)."""
        return super().features(inputs) * self.gate(inputs).sigmoid()
