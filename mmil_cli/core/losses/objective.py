"""What an objective returns, and what objectives share: precision, left-out pairs, options."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmil_cli.core.losses.pairing import Pairing
from mmil_cli.core.losses.reductions import count
from mmil_cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What an objective makes of a matrix of logits.

    Attributes:
        total: the scalar to minimise, with every weight already in it.
        parts: named parts for the log, detached.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]


def readable(logits: Float[Tensor, "image report"], pairing: Pairing) -> Float[Tensor, "image report"]:
    """The logits in at least single precision, with 0 in place of pairs that are left out.

    A sum over B^2 pairs overflows half precision. The 0 is a constant: whatever a left-out pair holds, an
    infinity or NaN included, it reaches neither value nor gradient.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return precise.masked_fill(~(pairing.positive | pairing.negative), 0.0)


def informative(pairing: Pairing) -> Bool[Tensor, ""]:
    """Whether the job's batch has both positives and negatives: with only one kind nothing is compared."""
    reducer = pairing.reducer
    return (count(pairing.positive, reducer) > 0) & (count(pairing.negative, reducer) > 0)


def contrast(pairing: Pairing, *, positives: Float[Tensor, ""], negatives: Float[Tensor, ""]) -> Loss:
    """The loss positives + negatives; 0, with zero gradients, if the batch has only one kind of pair.

    Args:
        pairing: roles of the pairs.
        positives: what the positive pairs cost.
        negatives: what the negative pairs cost.
    """
    speaks = informative(pairing)
    costs = {
        "positives": torch.where(speaks, positives, 0.0),
        "negatives": torch.where(speaks, negatives, 0.0),
    }
    return Loss(
        total=costs["positives"] + costs["negatives"],
        parts={name: cost.detach() for name, cost in costs.items()},
    )


def check_option(allowed: bool, *, objective: str, option: str, value: float | str, range_: str) -> None:
    """Refuses an option that is out of range.

    Raises:
        UsageError: naming the objective, the option, its value and what it may be.
    """
    if not allowed:
        shown = repr(value) if isinstance(value, str) else f"{value:g}"
        raise UsageError(f"{objective}: {option} must be {range_}, not {shown}")
