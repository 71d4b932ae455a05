"""Log-sum-exp of the instance scores: a soft maximum over regions."""

from jaxtyping import Float
from torch import Tensor

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import Instances, softmax_over_regions
from mmil_cli.core.scales import SOFTEST, Scale, ScaleLike


class LogSumExp(Aggregator):
    """g(X, y) = (1/gamma) log( (1/N) sum_n exp(gamma h(x_n, y)) ).

    The local score of LSE+NL (arXiv 2212.05561; this form with its 1/N is ours [ours]).
    mean <= g <= max; g -> mean as gamma -> 0 and -> max as gamma -> infinity, and bags of different
    size compare.

    Args:
        gamma: sharpness of the soft maximum, at least 0.01, per unit of the instance score.
    """

    level = Level.LOCAL
    equation = "(1/gamma) log( (1/N) sum_n exp(gamma h(x_n, y)) )"
    source = "LSE+NL, arXiv 2212.05561 [ours in form]"
    streams = True

    def __init__(self, *, gamma: ScaleLike = 5.0) -> None:
        super().__init__()
        self.gamma = Scale(gamma, name="lse: gamma", default=5.0, lowest=SOFTEST)

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        return instances.soft_maximum(self.gamma())

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """softmax_n(gamma h(x_n, y))."""
        return softmax_over_regions(self.gamma() * instances.scores, instances.mask)
