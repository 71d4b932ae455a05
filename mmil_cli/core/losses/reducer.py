"""How a sum over the images of a batch is finished when the images are spread over processes."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Reducer(Protocol):
    """Finishes reductions over images of which each process holds some.

    Every process ends with the same loss, and each propagates all of it back, but into its own rows alone.
    So a value of all processes needs no exchange in the backward pass, up to where it meets rows again:
    there each process knows only what its own rows do with it, and these gradients have to be added up.
    """

    def sum(self, x: Tensor) -> Tensor:
        """The elementwise sum over processes, the same in all; its gradient passes unchanged."""

    def share(self, x: Tensor) -> Tensor:
        """x, the same in all processes, for use with each one's rows; its gradient is summed over them."""

    def max(self, x: Tensor) -> Tensor:
        """The elementwise maximum over processes, the same in all; carries no gradient."""


class OneProcess:
    """All images are here."""

    def sum(self, x: Tensor) -> Tensor:
        """x itself."""
        return x

    def share(self, x: Tensor) -> Tensor:
        """x itself."""
        return x

    def max(self, x: Tensor) -> Tensor:
        """x itself, without gradient."""
        return x.detach()


LOCAL = OneProcess()
