"""Batches beyond memory: encoders that hold a part of the batch at a time, with the gradients of all of it.

Gradient caching (Gao et al. 2021, arXiv 2101.06983): the features of all lots are computed without keeping
what their gradients need, the objective is taken over all of them together, and then each lot is computed
once more and propagated back. Not gradient accumulation: every film is compared with every report.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


def encode_in_lots(
    encode: Callable[..., T], *inputs: Tensor, num_lots: int, module: nn.Module | None = None
) -> list[T]:
    """What `encode` gives for lots of the rows, in their order; in the backward pass lots are encoded again.

    At no time is more held than the rows' features and what one lot needs. The second time sees the random
    state of the first, so that dropout drops the same, and its precision.

    Batch norm takes its mean and variance over a lot ("ghost batch norm", Hoffer et al. 2017, arXiv
    1705.08741), so with it the loss is not that of one lot; the gradients are those of the loss. Its running
    statistics move once a batch, by the mean over lots; the second time does not move them.

    Args:
        encode: rows of each input to something with features.
        inputs: with equally many rows.
        num_lots: lots of equal size, to within one row; no more than there are rows.
        module: whose batch norms are meant.
    """
    lots = list(zip(*(rows.tensor_split(min(num_lots, max(1, len(rows)))) for rows in inputs), strict=True))
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)] if module else []
    shares = [len(lot[0]) / len(inputs[0]) for lot in lots]
    return [
        checkpoint(encode, *lot, use_reentrant=False, context_fn=_Passes(norms, shares, number))
        for number, lot in enumerate(lots)
    ]


class _Passes:
    """The contexts of the first and the second time that a lot is encoded.

    With momentum m and lots of shares w_j, running <- (1 - m) running + m sum_j w_j batch_j comes of updates
    by lot if that of lot j has the momentum m w_j / (1 - m sum_(i > j) w_i).
    """

    def __init__(self, norms: Sequence[_BatchNorm], shares: Sequence[float], lot: int) -> None:
        self.norms = norms
        self.share, self.later = shares[lot], sum(shares[lot + 1 :])

    def __call__(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return self._with_momentum(self._of_lot), self._with_momentum(lambda _: 0.0)

    def _of_lot(self, momentum: float) -> float:
        return momentum * self.share / (1 - momentum * self.later)

    @contextmanager
    def _with_momentum(self, change: Callable[[float], float]) -> Iterator[None]:
        before = [norm.momentum for norm in self.norms]
        for norm in self.norms:
            norm.momentum = None if norm.momentum is None else change(norm.momentum)
        try:
            yield
        finally:
            for norm, momentum in zip(self.norms, before, strict=True):
                norm.momentum = momentum


def take_batch_statistics(module: nn.Module) -> bool:
    """Whether any batch norm of a module takes its statistics from what it is shown while training."""
    return any(isinstance(part, _BatchNorm) and part.training for part in module.modules())
