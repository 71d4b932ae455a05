"""A learned bilinear form."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.critics.critic import Critic


class Bilinear(Critic):
    """h(x, y) = x^T W y, W learned; it starts as the cosine (W = I) and is not bounded afterwards.

    The critic of contrastive predictive coding (van den Oord et al. 2018, arXiv 1807.03748, its log-bilinear
    model).
    """

    equation = "h(x, y) = x^T W y"
    source = "van den Oord et al. 2018, arXiv 1807.03748"
    is_product = True

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.weight = nn.Parameter(torch.eye(dim))

    def forward(
        self, regions: Float[Tensor, "image region dim"], sentences: Float[Tensor, "sentence dim"]
    ) -> Float[Tensor, "image region sentence"]:
        """All instance scores as two matrix products."""
        return torch.matmul(self.left(regions), sentences.transpose(0, 1))

    def aligned(
        self, vectors: Float[Tensor, "image sentence dim"], sentences: Float[Tensor, "sentence dim"]
    ) -> Float[Tensor, "image sentence"]:
        """The form on the pairs given."""
        return (self.left(vectors) * sentences).sum(dim=-1)

    def left(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """x^T W."""
        return torch.matmul(vectors, self.weight.to(vectors.dtype))
