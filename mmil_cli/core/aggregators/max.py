"""Maximum of the instance scores: the standard multiple-instance assumption."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import Instances, fill_padding, zero_empty


class Max(Aggregator):
    """g(X, y) = max_n h(x_n, y).

    The region selection of local mutual information (arXiv 2103.04537, read in its abstract and figure).
    The region is found without a graph and scored again with one, so that the backward pass costs one
    instance a pair, whatever the critic. Of equal maxima the first gets the gradient.
    """

    level = Level.LOCAL
    equation = "max_n h(x_n, y)"
    source = "standard MIL; region selection of arXiv 2103.04537"
    streams = True

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        best = instances.score_picked(lambda regions, _: regions, instances.critical())
        return zero_empty(best, instances.mask)

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """1 for the critical region."""
        chosen = F.one_hot(instances.critical(), instances.regions.shape[1]).transpose(1, 2)
        return fill_padding(chosen.to(instances.regions.dtype), instances.mask, 0.0)
