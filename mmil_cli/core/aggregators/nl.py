"""Non-local pooling: regions that look like the critical one are averaged with it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import Instances, fill_padding, lowest, unit, zero_empty
from mmil_cli.core.scales import Scale, ScaleLike
from mmil_cli.errors import UsageError

SIMILARITIES = ("identity", "learned")


class NonLocal(Aggregator):
    """g(X, y) = h(z_k, y) with z_k = sum_n w_n x_n renormalised, w = softmax_n(gamma <A x_n, A x_k>).

    k = argmax_n h(x_n, y) is the critical region, A the identity or learned.

    The global score of LSE+NL (arXiv 2212.05561): "it exploits the correlation between image regions".
    This reading of it, with the operation of dual-stream MIL (Li et al. 2021), is ours [ours].
    gamma = 0 scores the average region; gamma -> infinity gives the maximum of the instance scores (A =
    identity). The vector z_k depends on the image and on k alone, so all of them are one softmax of the
    Gram matrix times X, and a pair needs only one of them.

    Args:
        dim: D of the joint embedding.
        gamma: sharpness of the neighbourhood, >= 0, per unit of region-region similarity.
        similarity: identity, or learned (A starts as the identity).
    """

    level = Level.GLOBAL
    equation = (
        "h(z_k, y), z_k = sum_n softmax_n(gamma <A x_n, A x_k>) x_n renormalised, k = argmax_n h(x_n, y)"
    )
    source = "LSE+NL, arXiv 2212.05561 [ours in form]; DSMIL, arXiv 2011.08939"
    streams = True

    def __init__(self, *, dim: int = 0, gamma: ScaleLike = 5.0, similarity: str = "identity") -> None:
        super().__init__()
        if similarity not in SIMILARITIES:
            raise UsageError(f"nl: similarity must be {' or '.join(SIMILARITIES)}, not {similarity!r}")
        self.gamma = Scale(gamma, name="nl: gamma", default=5.0)
        self.similarity = nn.Parameter(torch.eye(dim)) if similarity == "learned" else None

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        scores = instances.score_picked(
            self.neighbourhoods, instances.critical(), parameters=self.parameters()
        )
        return zero_empty(scores, instances.mask)

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """w of the critical region of each image and sentence."""
        rows = self.neighbour_weights(instances.regions, instances.mask)
        image = torch.arange(len(rows), device=rows.device).unsqueeze(1)
        return fill_padding(rows[image, instances.critical()].transpose(1, 2), instances.mask, 0.0)

    def neighbour_weights(
        self, regions: Float[Tensor, "image region dim"], mask: Bool[Tensor, "image region"]
    ) -> Float[Tensor, "image region region"]:
        """w[b, k, n]: how much region n counts when k is critical; rows sum to 1, padding has 0."""
        compared = regions if self.similarity is None else regions @ self.similarity.T.to(regions.dtype)
        gram = torch.matmul(self.gamma() * compared, compared.transpose(1, 2))
        if not mask.all():
            gram = gram.masked_fill(~mask[:, None, :], lowest(gram))
        return gram.softmax(dim=-1)

    def neighbourhoods(
        self, regions: Float[Tensor, "image region dim"], mask: Bool[Tensor, "image region"]
    ) -> Float[Tensor, "image region dim"]:
        """z_k for every region k taken as the critical one, L2-normalised."""
        return unit(torch.matmul(self.neighbour_weights(regions, mask), regions))
