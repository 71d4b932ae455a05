"""Log-sum-exp of the instance scores: a soft maximum over regions."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.aggregators.instances import Instances, count, fill_padding, zero_empty
from mmil_cli.errors import UsageError


class LogSumExp(nn.Module):
    """g(X, y) = (1/gamma) log( (1/N) sum_n exp(gamma h(x_n, y)) ).

    The local score of LSE+NL (arXiv 2212.05561; this form with its 1/N is ours [ours]).
    mean <= g <= max; g -> mean as gamma -> 0 and -> max as gamma -> infinity, and bags of different
    size compare. An image without regions scores 0.

    Args:
        gamma: sharpness of the soft maximum, > 0, per unit of the instance score.
    """

    def __init__(self, *, gamma: float = 5.0) -> None:
        super().__init__()
        if not (math.isfinite(gamma) and gamma > 0):
            raise UsageError(f"lse: gamma must be a finite number above 0, not {gamma:g}")
        self.gamma = gamma

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        scaled = fill_padding(self.gamma * instances.scores, instances.mask, -math.inf)
        has_region = instances.mask.any(dim=1)[:, None, None]
        scaled = scaled.masked_fill(~has_region, 0.0)  # log-sum-exp of nothing but -inf has a NaN gradient
        soft_max = scaled.logsumexp(dim=1) - count(instances).log()  # [B, U]
        return zero_empty(soft_max / self.gamma, instances.mask)
