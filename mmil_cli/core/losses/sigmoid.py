"""The pairwise sigmoid objective of SigLIP."""

import math
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mmil_cli.core.losses.objective import Loss, check_option, contrast, readable
from mmil_cli.core.losses.pairing import Pairing


class Sigmoid(nn.Module):
    """L = -(1/B) sum_i sum_j log sigmoid( z_ij (l_ij + b) ), z = 1 for positives and -1 for negatives.

    SigLIP, Zhai et al. 2023 (arXiv 2303.15343), whose logits are t <x, y> with a learned t = e^{t'} that
    starts at 10: here that is the logit scale of the term. The sum over pairs is divided by the number of
    images, as there: of images that have a positive or a negative, since pairs may be left out here. The
    bias b is learned; it starts low, because most pairs are negatives.
    Bounds no mutual information, hence has no `estimate`.

    Args:
        bias: where b starts, a finite number.
    """

    equation: ClassVar[str] = "-(1/B) sum_ij log sigmoid(z_ij (l_ij + b)), z = +1 for positives, else -1"
    source: ClassVar[str] = "Zhai et al. 2023 (SigLIP), arXiv 2303.15343"

    def __init__(self, *, bias: float = -10.0) -> None:
        super().__init__()
        check_option(
            math.isfinite(bias), objective="sigmoid", option="bias", value=bias, range_="a finite number"
        )
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, logits: Float[Tensor, "image report"], pairing: Pairing) -> Loss:
        """The loss in nats; parts `positives` and `negatives` add up to it, `bias` is b."""
        values, reducer = readable(logits, pairing) + self.bias, pairing.reducer
        speaking = (pairing.positive | pairing.negative).any(dim=1).sum()
        num_images = reducer.sum(speaking).clamp(min=1)
        attract = torch.where(pairing.positive, F.softplus(-values), 0.0).sum()
        repel = torch.where(pairing.negative, F.softplus(values), 0.0).sum()
        loss = contrast(
            pairing, positives=reducer.sum(attract) / num_images, negatives=reducer.sum(repel) / num_images
        )
        return replace(loss, parts={**loss.parts, "bias": self.bias.detach()})
