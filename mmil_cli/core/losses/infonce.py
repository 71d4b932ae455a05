"""Symmetric InfoNCE over a matrix of logits, with several positives and left-out pairs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mmil_cli.core.losses.pairing import Pairing


@dataclass(frozen=True, kw_only=True)
class InfoNCE:
    """The two directions of the loss, in nats.

    Attributes:
        image_to_text: picking the report of an image among the batch's reports.
        text_to_image: picking the image of a report among the batch's images.
    """

    image_to_text: Float[Tensor, ""]
    text_to_image: Float[Tensor, ""]

    @property
    def total(self) -> Float[Tensor, ""]:
        """The mean of the two directions."""
        return (self.image_to_text + self.text_to_image) / 2


def info_nce(logits: Float[Tensor, "image report"], pairing: Pairing) -> InfoNCE:
    """L = -(1/B) sum_b log[ e^{l_bb} / (e^{l_bb} + sum_{n in N(b)} e^{l_bn}) ], each way.

    InfoNCE of van den Oord et al. 2018 (arXiv 1807.03748), with the positive in the denominator. With
    several positives of an anchor, the mean over them of that term, each against the negatives alone
    (positives do not compete). At chance the loss is log(1 + |N|).

    Args:
        logits: scores times their logit scale.
        pairing: positives, negatives and, by being neither, pairs that are left out.
    """
    return InfoNCE(
        image_to_text=anchor_loss(logits, pairing), text_to_image=anchor_loss(logits.T, pairing.transpose())
    )


def anchor_loss(logits: Float[Tensor, "anchor other"], pairing: Pairing) -> Float[Tensor, ""]:
    """One direction: the mean over anchors of -log softmax of their positives against their negatives.

    An anchor without negatives contributes 0, its positive being all there is to pick; one without
    positives contributes nothing.
    """
    lowest = torch.finfo(logits.dtype).min
    against = logits.masked_fill(~pairing.negative, lowest).logsumexp(dim=1, keepdim=True)  # [B, 1]
    term = F.softplus(against - logits)  # -log e^l / (e^l + sum_n e^{l_n})
    num_positive = pairing.positive.sum(dim=1)
    per_anchor = torch.where(pairing.positive, term, 0.0).sum(dim=1) / num_positive.clamp(min=1)
    return per_anchor.sum() / (num_positive > 0).sum().clamp(min=1)
