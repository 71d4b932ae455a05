"""InfoNCE over a matrix of logits, in both directions, with several positives and left-out pairs."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mmil_cli.core.losses.anchors import Anchors, both_directions
from mmil_cli.core.losses.objective import Loss, check_option, readable
from mmil_cli.core.losses.pairing import Pairing


class InfoNCE(nn.Module):
    """L = w L_image + (1 - w) L_text, L_image = mean_b -log[ e^{l_bb} / (e^{l_bb} + sum_n e^{l_bn}) ].

    n runs over the negatives N of b; L_text is the same over columns. InfoNCE of van den Oord et al. 2018
    (arXiv 1807.03748), with the positive in the denominator. w = 1/2 is CLIP's (arXiv 2103.00020), 3/4
    ConVIRT's (arXiv 2010.00747). With several positives of an anchor, the mean over them of that term, each
    against the negatives alone: positives do not compete [ours]. At chance the loss is log(1 + |N|). An
    anchor without negatives costs 0, its positive being all there is to pick; one without positives does
    not count.

    Args:
        image_to_text: w, weight of picking an image's report, in [0, 1]; the other direction has the rest.
    """

    equation: ClassVar[str] = "w mean_b -log[e^l_bb / (e^l_bb + sum_n e^l_bn)] + (1 - w) (same over columns)"
    source: ClassVar[str] = "van den Oord et al. 2018, arXiv 1807.03748; both ways as in arXiv 2103.00020"

    def __init__(self, *, image_to_text: float = 0.5) -> None:
        super().__init__()
        check_option(
            0 <= image_to_text <= 1,
            objective="infonce",
            option="image_to_text",
            value=image_to_text,
            range_="between 0 and 1",
        )
        self.image_to_text = image_to_text

    def forward(self, logits: Float[Tensor, "image report"], pairing: Pairing) -> Loss:
        """The loss in nats; parts `image_to_text` and `text_to_image` are the directions unweighted."""
        ways = info_nce(logits, pairing)
        return Loss(
            total=self.image_to_text * ways.image_to_text + (1 - self.image_to_text) * ways.text_to_image,
            parts={
                "image_to_text": ways.image_to_text.detach(),
                "text_to_image": ways.text_to_image.detach(),
            },
        )

    @staticmethod
    def estimate(logits: Float[Tensor, "image report"], pairing: Pairing) -> Float[Tensor, ""]:
        """I >= log(1 + |N|) - L in nats, the mean of both directions; never above log(1 + |N|).

        A bound in expectation over batches. The logarithm is each anchor's own where they have different
        numbers of negatives. 0 for a batch without positives or without negatives.
        """
        image, text = (_bound(anchors) for anchors in both_directions(readable(logits, pairing), pairing))
        return (image + text) / 2


@dataclass(frozen=True, kw_only=True)
class Directions:
    """The two directions of InfoNCE, in nats.

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


def info_nce(logits: Float[Tensor, "image report"], pairing: Pairing) -> Directions:
    """Both directions of InfoNCE, each for itself.

    Args:
        logits: scores times their logit scale.
        pairing: positives, negatives and, by being neither, pairs that are left out.
    """
    images, reports = both_directions(readable(logits, pairing), pairing)
    return Directions(
        image_to_text=images.mean_positives(_terms(images)),
        text_to_image=reports.mean_positives(_terms(reports)),
    )


def _terms(anchors: Anchors) -> Float[Tensor, "anchor other"]:
    """-log e^l / (e^l + sum_n e^{l_n}) of every pair, taken as if it were a positive."""
    return F.softplus(anchors.with_others(anchors.log_sum_exp_negatives()) - anchors.logits)


def _bound(anchors: Anchors) -> Float[Tensor, ""]:
    num_negative = anchors.count_others(anchors.negative).to(anchors.logits.dtype)  # [A]
    return anchors.mean_positives(num_negative.log1p()[:, None] - _terms(anchors))
