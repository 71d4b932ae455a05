"""The cosine of two unit vectors."""

import torch
from jaxtyping import Float
from torch import Tensor

from mmil_cli.core.critics.critic import Critic


class Cosine(Critic):
    """Cosine similarity, h(x, y) = <x, y> for unit vectors; in [-1, 1].

    LSE+NL (arXiv 2212.05561) needs a bounded instance score for its scale to have one meaning; the
    cosine is our choice [ours].
    """

    equation = "h(x, y) = <x, y>"
    source = "cosine of unit vectors"
    is_product = True

    def forward(
        self, regions: Float[Tensor, "image region dim"], sentences: Float[Tensor, "sentence dim"]
    ) -> Float[Tensor, "image region sentence"]:
        """All instance scores as one matrix product; both inputs L2-normalised."""
        return torch.matmul(regions, sentences.transpose(0, 1))

    def aligned(
        self, vectors: Float[Tensor, "image sentence dim"], sentences: Float[Tensor, "sentence dim"]
    ) -> Float[Tensor, "image sentence"]:
        """Products of the pairs given."""
        return (vectors * sentences).sum(dim=-1)

    def left(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The region itself."""
        return vectors
