"""Instance scores as probabilities, for the aggregators that speak of them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RegionLogit(nn.Module):
    """a h(x_n, y) + b, the logit of p_n = P(region n shows what y says); a > 0 and b are learned.

    They start where a region without evidence (h = 0) is improbable, as most regions of a film are of most
    sentences: a = 5, b = -3 for means of probabilities. Where probabilities add up over the regions, b = -6:
    a hundred regions without evidence shall not be evidence, nor leave the sum no slope [ours].

    Args:
        adds_up: whether probabilities of regions add up in the score.
    """

    def __init__(self, *, adds_up: bool) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(5.0)))
        self.bias = nn.Parameter(torch.tensor(-6.0 if adds_up else -3.0))

    def forward(
        self, scores: Float[Tensor, "image region sentence"]
    ) -> Float[Tensor, "image region sentence"]:
        """Logits of instance scores, in their dtype."""
        return self.log_scale.exp() * scores + self.bias
