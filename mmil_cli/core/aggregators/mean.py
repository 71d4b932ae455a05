"""Mean of the instance scores."""

from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.aggregators.instances import Instances, count, fill_padding


class Mean(nn.Module):
    """g(X, y) = (1/N) sum_n h(x_n, y).

    With the cosine critic this is the score of the average region, as ConVIRT's pooling has it, but
    without renormalising the average. An image without regions scores 0.
    """

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence; padded regions count for nothing."""
        total = fill_padding(instances.scores, instances.mask, 0.0).sum(dim=1)  # [B, U]
        return total / count(instances)
