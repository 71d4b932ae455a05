"""Blocks of a tower that keep their weights for some or all of a run, and how fast the others learn."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from mmil_cli.core.encoders.blocks import blocks_of
from mmil_cli.errors import UsageError, nearest

NONE, ALL = "none", "all"


@dataclass(frozen=True, kw_only=True)
class FrozenPart:
    """Parameters that do not learn before a step.

    Attributes:
        parameters: of some blocks of a tower.
        until: steps of the run after which they learn too; None for never.
    """

    parameters: tuple[nn.Parameter, ...]
    until: int | None

    def set(self, step: int) -> None:
        """Makes them learn or not in the step that follows `step` steps: a function of that number alone.

        What does not learn has no gradient, and torch keeps nothing to compute it from.
        """
        learns = self.until is not None and step >= self.until
        for parameter in self.parameters:
            parameter.requires_grad_(learns)
            if not learns:
                parameter.grad = None


def frozen_part(
    encoder: nn.Module, *, key: str, freeze: str, thaw: float | None, num_steps: int
) -> FrozenPart:
    """What a recipe freezes of a tower.

    Args:
        encoder: the tower.
        key: of the recipe, for messages.
        freeze: `none`, `all`, or the block below which all are frozen.
        thaw: share of the steps after which they learn too; None for never.
        num_steps: of the run.

    Raises:
        UsageError: the tower has no such block, or none below it.
    """
    blocks = blocks_of(encoder)
    until = None if thaw is None else round(thaw * num_steps)
    if freeze == NONE:
        return FrozenPart(parameters=(), until=until)
    names = [block.name for block in blocks]
    if freeze != ALL and freeze not in names[1:]:
        raise UsageError(
            f"{key}: the tower has no block {freeze!r} with others below{nearest(freeze, names[1:])}; give "
            f"none, all, or the lowest block that is to learn: {', '.join(names[1:])}"
        )
    frozen = blocks if freeze == ALL else blocks[: names.index(freeze)]
    return FrozenPart(parameters=tuple(p for block in frozen for p in block.parameters), until=until)


def tower_rates(
    encoder: nn.Module, *, lr: float, layer_decay: float
) -> list[tuple[Sequence[nn.Parameter], float]]:
    """The peak learning rate of each block of a tower: lr d^k for the k-th block from the top, k = 0, 1, ...

    Layers near the input hold what holds for any image or text, and are to change less (as Clark et al. 2020,
    arXiv 2003.10555, do for text).

    Args:
        encoder: the tower.
        lr: of its topmost block.
        layer_decay: d, in (0, 1].
    """
    if layer_decay == 1:
        return [(tuple(encoder.parameters()), lr)]
    return [
        (block.parameters, lr * layer_decay**depth)
        for depth, block in enumerate(reversed(blocks_of(encoder)))
    ]
