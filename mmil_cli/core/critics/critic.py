"""What a critic is."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn


class Critic(nn.Module):
    """An instance score h(x, y), over all pairs or over pairs that are given.

    Args:
        dim: D of both sides.

    Attributes:
        equation: for people.
        source: where it is from.
        is_product: whether h(x, y) = <left(x), y>; then pooling over regions can be streamed.
    """

    equation: ClassVar[str]
    source: ClassVar[str]
    is_product: ClassVar[bool] = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(
        self, regions: Float[Tensor, "image region dim"], sentences: Float[Tensor, "sentence dim"]
    ) -> Float[Tensor, "image region sentence"]:
        """h of every region with every sentence."""
        raise NotImplementedError

    def aligned(
        self, vectors: Float[Tensor, "image sentence dim"], sentences: Float[Tensor, "sentence dim"]
    ) -> Float[Tensor, "image sentence"]:
        """h of a vector of the region space for each image and sentence, with that sentence."""
        raise NotImplementedError

    def left(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The region's side of a product critic."""
        raise NotImplementedError
