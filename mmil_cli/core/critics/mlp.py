"""A small network on pairs, whose first layer never sees a pair."""

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mmil_cli.core.critics.critic import Critic
from mmil_cli.core.critics.pairs import later_layers
from mmil_cli.errors import UsageError


class MLP(Critic):
    """h(x, y) = w3 relu(W2 relu(W1 [x; y] + b1) + b2) + b3, a real number without bounds.

    The discriminator of the code released for local mutual information (arXiv 2103.04537: 1024 and 512 hidden
    units). The first layer is linear in [x; y], so W1 [x; y] = Wx x + Wy y is computed once a region and once
    a sentence, and only the later layers see pairs. Unlike there, x and y are unit vectors, scaled here by
    sqrt(D) so that their components have the size that the layers' initialisation expects [ours].

    Args:
        dim: D of both sides.
        hidden: units of the first layer.
        second: units of the second layer.
    """

    equation = "h(x, y) = w3 relu(W2 relu(Wx x + Wy y + b1) + b2) + b3"
    source = "code of arXiv 2103.04537"

    def __init__(self, dim: int, *, hidden: int = 1024, second: int = 512) -> None:
        super().__init__(dim)
        for name, units in (("hidden", hidden), ("second", second)):
            if units < 1:
                raise UsageError(f"mlp: {name} must be a whole number of at least 1, not {units}")
        self.region = nn.Linear(dim, hidden)
        self.sentence = nn.Linear(dim, hidden, bias=False)
        self.second = nn.Linear(hidden, second)
        self.last = nn.Linear(second, 1)
        for layer in (self.region, self.sentence):  # as one layer of 2 D inputs would start
            nn.init.uniform_(layer.weight, -1 / math.sqrt(2 * dim), 1 / math.sqrt(2 * dim))

    def forward(
        self, regions: Float[Tensor, "image region dim"], sentences: Float[Tensor, "sentence dim"]
    ) -> Float[Tensor, "image region sentence"]:
        """h of every region with every sentence."""
        of_region, of_sentence = self._first(self.region, regions), self._first(self.sentence, sentences)
        scores = later_layers(
            of_region.flatten(0, 1),
            of_sentence,
            (self.second.weight, self.second.bias),
            (self.last.weight, self.last.bias),
        )
        return scores.unflatten(0, regions.shape[:2])

    def aligned(
        self, vectors: Float[Tensor, "image sentence dim"], sentences: Float[Tensor, "sentence dim"]
    ) -> Float[Tensor, "image sentence"]:
        """h of the pairs given."""
        return self._later(self._first(self.region, vectors) + self._first(self.sentence, sentences))

    def _first(self, layer: nn.Linear, vectors: Tensor) -> Tensor:
        return layer(vectors.to(layer.weight.dtype) * math.sqrt(self.dim))

    def _later(self, first: Tensor) -> Tensor:
        hidden = F.relu(self.second(F.relu(first)))
        return self.last(hidden).squeeze(-1)
