"""Mean of the highest instance scores."""

import torch
from jaxtyping import Float
from torch import Tensor

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import Instances, count, fill_padding, lowest, zero_empty
from mmil_cli.errors import UsageError


class TopK(Aggregator):
    """g(X, y) = the mean of the k highest h(x_n, y); of all, where an image has fewer regions.

    The maximum at k = 1, the mean at k >= N.

    Args:
        k: how many, a whole number of at least 1.
    """

    level = Level.LOCAL
    equation = "(1/k) sum of the k highest h(x_n, y)"
    source = "top-k pooling; Durand et al. 2016, WELDON"

    def __init__(self, *, k: int = 5) -> None:
        super().__init__()
        if k < 1:
            raise UsageError(f"top-k: k must be a whole number of at least 1, not {k}")
        self.k = k

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        chosen = self._chosen(instances)
        total = instances.scores.masked_fill(~chosen, 0.0).sum(dim=1)
        return zero_empty(total / self._number(instances), instances.mask)

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """1/k for those chosen."""
        return self._chosen(instances).to(instances.scores.dtype) / self._number(instances).unsqueeze(1)

    def _chosen(self, instances: Instances) -> Tensor:
        """True for the k highest real regions of each image and sentence."""
        scores = fill_padding(instances.scores.detach(), instances.mask, lowest(instances.scores))
        highest = scores.topk(min(self.k, scores.shape[1]), dim=1).indices
        chosen = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, highest, True)
        return chosen & instances.mask.unsqueeze(-1)

    def _number(self, instances: Instances) -> Tensor:
        return count(instances).clamp(max=self.k)
