"""Critics: the instance score h(x, y) of every region with every sentence."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Cosine(nn.Module):
    """Cosine similarity, h(x, y) = <x, y> for unit vectors; in [-1, 1].

    LSE+NL (arXiv 2212.05561) needs a bounded instance score for its scale to have one meaning; the
    cosine is our choice [ours].
    """

    def forward(
        self, regions: Float[Tensor, "image region dim"], sentences: Float[Tensor, "sentence dim"]
    ) -> Float[Tensor, "image region sentence"]:
        """All instance scores as one matrix product; both inputs L2-normalised."""
        return torch.matmul(regions, sentences.transpose(0, 1))


CRITICS: dict[str, type[nn.Module]] = {"cosine": Cosine}
