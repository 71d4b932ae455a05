"""The hinge objective: a positive beats the negatives by a margin."""

import math
from enum import StrEnum
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.losses.anchors import Anchors, both_directions
from mmil_cli.core.losses.objective import Loss, check_option, readable
from mmil_cli.core.losses.pairing import Pairing


class Negatives(StrEnum):
    """Which negatives of an anchor cost."""

    HARDEST = "hardest"
    ALL = "all"


class Hinge(nn.Module):
    """L = mean_b max_n [margin + l_bn - l_bb]_+ + (same over columns); with `all`, a sum over n for the max.

    VSE++, Faghri et al. 2018 (arXiv 1707.05612): its "max of hinges" for the hardest negative, its "sum of
    hinges" for all. Ours takes the mean over anchors where the paper sums over them, so that the loss does
    not grow with the batch, and, of several positives of an anchor, the mean over them [ours]. Negatives
    that tie for the hardest share its gradient in equal parts. An anchor without negatives costs 0; one
    without positives does not count. The margin is in units of the logits: the paper's 0.2 is meant for
    cosines, hence for a logit scale of 1.
    From scratch the hardest negative tends to pull all embeddings together, where the loss stays at twice the
    margin. While training, the first `warmup` batches therefore cost all negatives, as in the code of
    VSE-infinity, Chen et al. 2021 (arXiv 2011.04305).
    Bounds no mutual information, hence has no `estimate`.

    Args:
        margin: by how much a positive has to win, a finite number of at least 0.
        negatives: `hardest` or `all`.
        warmup: batches of training before the hardest negative is the only one; 0 for none.
    """

    equation: ClassVar[str] = (
        "mean_b max_n [margin + l_bn - l_bb]_+ + (same over columns); or sum_n for max_n"
    )
    source: ClassVar[str] = "Faghri et al. 2018 (VSE++), arXiv 1707.05612"
    num_warm: Tensor

    def __init__(self, *, margin: float = 0.2, negatives: str = "hardest", warmup: int = 0) -> None:
        super().__init__()
        check_option(
            math.isfinite(margin) and margin >= 0,
            objective="hinge",
            option="margin",
            value=margin,
            range_="a finite number of at least 0",
        )
        check_option(
            negatives in set(Negatives),
            objective="hinge",
            option="negatives",
            value=negatives,
            range_=" or ".join(Negatives),
        )
        check_option(
            warmup >= 0,
            objective="hinge",
            option="warmup",
            value=float(warmup),
            range_="a whole number of at least 0",
        )
        self.margin, self.warmup = margin, warmup
        self.negatives = Negatives(negatives)
        self.register_buffer("num_warm", torch.tensor(0))  # batches of the warm-up done

    def forward(self, logits: Float[Tensor, "image report"], pairing: Pairing) -> Loss:
        """The loss in units of the logits; parts `image_to_text` and `text_to_image` add up to it."""
        cost = _hardest if self.negatives is Negatives.HARDEST and not self._warms_up() else _all
        images, reports = both_directions(readable(logits, pairing), pairing)
        image_to_text, text_to_image = cost(images, self.margin), cost(reports, self.margin)
        return Loss(
            total=image_to_text + text_to_image,
            parts={"image_to_text": image_to_text.detach(), "text_to_image": text_to_image.detach()},
        )

    def _warms_up(self) -> bool:
        """Whether this batch belongs to the warm-up, which it then brings on by one."""
        if not self.training or self.num_warm >= self.warmup:
            return False
        self.num_warm += 1
        return True


def _hardest(anchors: Anchors, margin: float) -> Float[Tensor, ""]:
    hardest, _ = anchors.greatest(anchors.negative)
    return anchors.mean_positives((margin + anchors.with_others(hardest) - anchors.logits).relu())


def _all(anchors: Anchors, margin: float) -> Float[Tensor, ""]:
    """Every negative against every positive, which may be of another process.

    The positives of all anchors are taken in turn, the greatest first: one round in a batch of single
    positives, and never an [anchor, positive, negative] tensor.
    """
    cost, remaining = torch.zeros((), device=anchors.logits.device), anchors.positive
    while True:
        positive, ties = anchors.greatest(remaining)
        hinges = (margin + anchors.logits - anchors.with_others(positive)).relu()
        own = ties * anchors.sum_others(hinges, anchors.negative)
        cost = cost + torch.where((ties > 0) | positive.isnan(), own, 0.0)  # [A]; a NaN shall be seen
        remaining = remaining & (anchors.logits < positive[:, None])
        if not (anchors.count_others(remaining) > 0).any():
            return anchors.mean_anchors(cost / anchors.count_others(anchors.positive).clamp(min=1))
