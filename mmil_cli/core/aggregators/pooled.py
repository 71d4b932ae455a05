"""Global average pooling: one vector an image."""

from jaxtyping import Float
from torch import Tensor

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import Instances, uniform, unit, zero_empty


class Pooled(Aggregator):
    """g(X, y) = h(z, y), z = mean_n x_n renormalised.

    What CLIP, ConVIRT, VSE++, SigLIP and BioViL do with the last feature map, but that here regions are
    projected and normalised before they are averaged, not after [ours].
    """

    level = Level.GLOBAL
    equation = "h(z, y), z = mean_n x_n renormalised"
    source = "global average pooling: CLIP (arXiv 2103.00020), ConVIRT (arXiv 2010.00747)"
    streams = True

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        return zero_empty(instances.score_vector(unit(instances.average())), instances.mask)

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """1/N for each real region."""
        return uniform(instances)
