"""Mean of the instance scores."""

from jaxtyping import Float
from torch import Tensor

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import Instances, count, fill_padding, uniform


class Mean(Aggregator):
    """g(X, y) = (1/N) sum_n h(x_n, y).

    With a critic that is a product this is the score of the average region, not renormalised, and is computed
    so: one vector an image instead of N.
    """

    level = Level.LOCAL
    equation = "(1/N) sum_n h(x_n, y)"
    source = "average pooling of instance scores"
    streams = True

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence; padded regions count for nothing."""
        if instances.critic.is_product:
            return instances.score_vector(instances.average())
        total = fill_padding(instances.scores, instances.mask, 0.0).sum(dim=1)  # [B, U]
        return total / count(instances)

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """1/N for each real region."""
        return uniform(instances)
