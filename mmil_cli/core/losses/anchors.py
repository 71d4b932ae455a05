"""The two directions of a batch: images that choose among reports, and reports that choose among images."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmil_cli.core.losses.pairing import Pairing
from mmil_cli.core.losses.reducer import LOCAL, Reducer
from mmil_cli.core.losses.reductions import largest, log_sum_exp


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """One direction: each anchor with the logits of all it may choose from.

    Of an image all reports are in its own process; of a report the images are spread over the processes.
    So either the others or the anchors need the job's reducer, never both.

    Attributes:
        logits: of each anchor with each other.
        positive: what the anchor belongs to.
        negative: what it does not.
        across_others: finishes sums over the others of an anchor.
        across_anchors: finishes sums over anchors.
    """

    logits: Float[Tensor, "anchor other"]
    positive: Bool[Tensor, "anchor other"]
    negative: Bool[Tensor, "anchor other"]
    across_others: Reducer
    across_anchors: Reducer

    def log_sum_exp_negatives(self) -> Float[Tensor, " anchor"]:
        """log sum_n e^{l_n} over each anchor's negatives; the lowest finite number if it has none."""
        return log_sum_exp(self.logits, self.negative, self.across_others)

    def with_others(self, values: Float[Tensor, " anchor"]) -> Float[Tensor, "anchor 1"]:
        """A value of each anchor, to be used with each of its others."""
        return self.across_others.share(values)[:, None]

    def sum_others(
        self, values: Float[Tensor, "anchor other"], mask: Bool[Tensor, "anchor other"]
    ) -> Float[Tensor, " anchor"]:
        """The sum over each anchor's masked others."""
        return self.across_others.sum(torch.where(mask, values, 0.0).sum(dim=1))

    def count_others(self, mask: Bool[Tensor, "anchor other"]) -> Int[Tensor, " anchor"]:
        """How many others of each anchor the mask holds."""
        return self.across_others.sum(mask.sum(dim=1))

    def greatest(
        self, mask: Bool[Tensor, "anchor other"]
    ) -> tuple[Float[Tensor, " anchor"], Int[Tensor, " anchor"]]:
        """The greatest logit among each anchor's masked others, and how many others share it.

        Those who share it share its gradient in equal parts, in whichever process they are, as
        `torch.amax` does it in one. Where there is none: the lowest finite number, and 0.
        """
        peak = self.across_others.max(largest(self.logits, mask))
        shares = mask & (self.logits == peak[:, None])
        ties = self.count_others(shares)
        mean = self.sum_others(self.logits, shares) / ties.clamp(min=1)
        return peak + (mean - mean.detach()), ties  # the mean carries the gradient, the peak is exact

    def mean_anchors(self, values: Float[Tensor, " anchor"]) -> Float[Tensor, ""]:
        """The mean over the anchors that have a positive; 0 if none has."""
        real = self.count_others(self.positive) > 0
        total = self.across_anchors.sum(torch.where(real, values, 0.0).sum())
        return total / self.across_anchors.sum(real.sum()).clamp(min=1)

    def mean_positives(self, values: Float[Tensor, "anchor other"]) -> Float[Tensor, ""]:
        """The mean over anchors of the mean over their positives; anchors without positives do not count."""
        num_positive = self.count_others(self.positive).clamp(min=1)
        return self.mean_anchors(self.sum_others(values, self.positive) / num_positive)


def both_directions(logits: Float[Tensor, "image report"], pairing: Pairing) -> tuple[Anchors, Anchors]:
    """Images as anchors among the reports, then reports as anchors among the images."""
    images = Anchors(
        logits=logits,
        positive=pairing.positive,
        negative=pairing.negative,
        across_others=LOCAL,
        across_anchors=pairing.reducer,
    )
    reports = Anchors(
        logits=logits.T,
        positive=pairing.positive.T,
        negative=pairing.negative.T,
        across_others=pairing.reducer,
        across_anchors=LOCAL,
    )
    return images, reports
