"""Non-local pooling: regions that look like the critical one are averaged with it."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mmil_cli.core.aggregators.instances import Instances, fill_padding, lowest, zero_empty
from mmil_cli.errors import UsageError


class NonLocal(nn.Module):
    """g(X, y) = h(z_k, y) with z_k = sum_n w_n x_n renormalised, w = softmax_n(gamma <x_n, x_k>).

    k = argmax_n h(x_n, y) is the critical region.

    The global score of LSE+NL (arXiv 2212.05561): "it exploits the correlation between image regions".
    This reading of it, with the operation of dual-stream MIL (Li et al. 2021), is ours [ours].
    gamma = 0 scores the average region; gamma -> infinity gives the maximum of the instance scores.
    The vector z_k depends on the image and on k alone, so all of them are one softmax of the Gram matrix
    times X, and the pair needs only a second product and a gather. An image without regions scores 0.

    Args:
        gamma: sharpness of the neighbourhood, >= 0, per unit of region-region cosine.
    """

    def __init__(self, *, gamma: float = 5.0) -> None:
        super().__init__()
        if not (math.isfinite(gamma) and gamma >= 0):
            raise UsageError(f"nl: gamma must be a finite number of at least 0, not {gamma:g}")
        self.gamma = gamma

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        neighbourhoods = self.neighbourhoods(instances.regions, instances.mask)
        candidates = instances.critic(neighbourhoods, instances.sentences)  # [B, N, U]
        visible = fill_padding(instances.scores, instances.mask, lowest(instances.scores))
        critical = visible.argmax(dim=1, keepdim=True)  # [B, 1, U]
        return zero_empty(candidates.gather(1, critical)[:, 0], instances.mask)

    def weights(
        self, regions: Float[Tensor, "image region dim"], mask: Bool[Tensor, "image region"]
    ) -> Float[Tensor, "image region region"]:
        """w[b, k, n]: how much region n counts when k is critical; rows sum to 1, padding has 0."""
        gram = torch.matmul(regions, regions.transpose(1, 2))
        return (self.gamma * gram).masked_fill(~mask[:, None, :], lowest(gram)).softmax(dim=-1)

    def neighbourhoods(
        self, regions: Float[Tensor, "image region dim"], mask: Bool[Tensor, "image region"]
    ) -> Float[Tensor, "image region dim"]:
        """z_k for every region k taken as the critical one, L2-normalised."""
        pooled = torch.matmul(self.weights(regions, mask), regions)
        return F.normalize(pooled, dim=-1)
