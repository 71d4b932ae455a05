"""The bound of Nguyen, Wainwright and Jordan on mutual information."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.losses.objective import Loss, contrast, readable
from mmil_cli.core.losses.pairing import Pairing
from mmil_cli.core.losses.reductions import pair_mean

MAX_EXPONENT = 30.0  # of e^{f - 1}; beyond it the exponential goes on as its tangent


class NguyenWainwrightJordan(nn.Module):
    """L = -( E_P[f] - e^{-1} E_{PxP}[e^f] ).

    Nguyen, Wainwright and Jordan 2010 (arXiv 0809.0853); in this form in Poole et al. 2019 (arXiv
    1905.06922). No logarithm of a mean, hence neither value nor gradient is biased, but the variance is
    greater than that of `dv`. Best at f = 1 + log p(x, y) / (p(x) p(y)).
    Where f exceeds 31 the exponential is continued by its tangent, so that no logit overflows [ours]:
    density ratios of e^30 are out of reach of any batch.
    """

    equation: ClassVar[str] = "-(E_P[f] - E_PxP[e^f] / e)"
    source: ClassVar[str] = "Nguyen, Wainwright and Jordan 2010, arXiv 0809.0853; arXiv 1905.06922"

    def forward(self, logits: Float[Tensor, "image report"], pairing: Pairing) -> Loss:
        """The loss in nats; parts `positives` and `negatives` add up to it."""
        values = readable(logits, pairing)
        return contrast(
            pairing,
            positives=-pair_mean(values, pairing.positive, pairing.reducer),
            negatives=pair_mean(_exp(values - 1), pairing.negative, pairing.reducer),
        )

    @staticmethod
    def estimate(logits: Float[Tensor, "image report"], pairing: Pairing) -> Float[Tensor, ""]:
        """I >= E_P[f] - E_{PxP}[e^{f - 1}] in nats, unbiased; 0 without positives or without negatives."""
        return -NguyenWainwrightJordan()(logits, pairing).total


def _exp(x: Float[Tensor, "image report"]) -> Float[Tensor, "image report"]:
    tangent = 1 + (x - MAX_EXPONENT).clamp(min=0)
    return torch.where(x > MAX_EXPONENT, math.exp(MAX_EXPONENT) * tangent, x.clamp(max=MAX_EXPONENT).exp())
