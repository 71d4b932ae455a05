"""Noisy-and: enough regions show it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import (
    Instances,
    count,
    fill_padding,
    softmax_over_regions,
    zero_empty,
)
from mmil_cli.core.aggregators.probability import RegionLogit
from mmil_cli.core.scales import SOFTEST, Scale, ScaleLike


class NoisyAnd(Aggregator):
    """g(X, y) = [sigmoid(c (m - b)) - sigmoid(-c b)] / [sigmoid(c (1 - b)) - sigmoid(-c b)], m = mean_n p_n.

    Kraus, Ba and Frey 2016 (arXiv 1511.05286): on once the share of positive regions passes b. In [0, 1].
    The threshold b is learned, for all sentences together (there: for each class); it starts at 0.1, a tenth
    of the regions [ours].

    Args:
        gamma: c, steepness of the threshold, at least 0.01, per share of regions; a number or learned: it
            decides nothing about how many regions count, so it cannot be calibrated.
    """

    level = Level.LOCAL
    equation = "[s(c (m - b)) - s(-c b)] / [s(c (1 - b)) - s(-c b)], m = mean_n p_n, s = sigmoid"
    source = "Kraus, Ba and Frey 2016, arXiv 1511.05286"
    keeps_one = False

    def __init__(self, *, gamma: ScaleLike = 10.0) -> None:
        super().__init__()
        self.logit = RegionLogit(adds_up=False)
        self.gamma = Scale(gamma, name="noisy-and: gamma", default=10.0, lowest=SOFTEST, auto=False)
        self.threshold = nn.Parameter(torch.logit(torch.tensor(0.1)))

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        shown = fill_padding(self.logit(instances.scores).sigmoid(), instances.mask, 0.0)
        share = shown.sum(dim=1) / count(instances)
        steepness, threshold = self.gamma(), self.threshold.sigmoid()
        low = torch.sigmoid(-steepness * threshold)
        high = torch.sigmoid(steepness * (1 - threshold))
        return zero_empty(
            (torch.sigmoid(steepness * (share - threshold)) - low) / (high - low), instances.mask
        )

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """In proportion to p_n (1 - p_n)."""
        logits = self.logit(instances.scores)
        return softmax_over_regions(F.logsigmoid(logits) + F.logsigmoid(-logits), instances.mask)
