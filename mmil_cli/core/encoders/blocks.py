"""The blocks of an encoder from its input to its output: what is frozen, and what learns more slowly."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

STEM = "stem"


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some layers of an encoder that lie together.

    Attributes:
        name: that of its first layers in the network (`layer3`, `features.7`, `encoder.layer.11`), or `stem`.
        parameters: of its layers.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]


def network_of(encoder: nn.Module) -> nn.Module:
    """The network inside an encoder, whose names are those of its source."""
    for name in ("body", "network"):
        inner = getattr(encoder, name, None)
        if isinstance(inner, nn.Module):
            return inner
    return encoder


def blocks_of(encoder: nn.Module) -> tuple[Block, ...]:
    """The blocks of an encoder, in the order in which its layers are defined; every parameter is in one.

    A block begins where a layer has a number in its name: `layer2.0.conv1` is of `layer2`, and
    `features.3.conv.1` of `features.3`. What comes before the first of them (embeddings) is the stem. What
    has no number (a last norm) and what is norms alone belongs to the block before it.
    """
    blocks: list[tuple[str, list[nn.Parameter]]] = []
    for name, parameters in _by_prefix(network_of(encoder)):
        begins = name is not None and any(parameter.dim() > 1 for parameter in parameters)
        if begins or not blocks:
            blocks.append((name or STEM, parameters))
        else:
            blocks[-1][1].extend(parameters)
    return tuple(Block(name=name, parameters=tuple(parameters)) for name, parameters in blocks)


def _by_prefix(network: nn.Module) -> Iterator[tuple[str | None, list[nn.Parameter]]]:
    """Runs of parameters whose names begin alike, up to the first number."""
    last: str | None = None
    run: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        prefix = numbered_prefix(name)
        if run and prefix != last:
            yield last, run
            run = []
        last = prefix
        run.append(parameter)
    if run:
        yield last, run


def numbered_prefix(name: str) -> str | None:
    """The part of a layer's name up to the first component with a number in it; None without one."""
    found = re.match(r"(?:[^.\d]+\.)*[^.\d]*\d[^.]*(?=\.)", name)
    return found and found[0]
