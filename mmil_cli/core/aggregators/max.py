"""Maximum of the instance scores: the standard multiple-instance assumption."""

from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.aggregators.instances import Instances, fill_padding, lowest, zero_empty


class Max(nn.Module):
    """g(X, y) = max_n h(x_n, y).

    The region selection of local mutual information (arXiv 2103.04537, read in its abstract and figure).
    An image without regions scores 0.
    """

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        scores = fill_padding(instances.scores, instances.mask, lowest(instances.scores))
        return zero_empty(scores.amax(dim=1), instances.mask)
