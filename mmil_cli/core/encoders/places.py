"""Where the cells of an encoder's feature map look, found by sending one film through it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True, kw_only=True)
class MapShape:
    """The feature map of a square film.

    Attributes:
        channels: of the map.
        rows: of the map, as many as columns.
        cell_centre: where a cell looks, as a share of its side from the upper left.
    """

    channels: int
    rows: int
    cell_centre: float


@dataclass
class _Path:
    """How far a film has come: cell i of `size` cells lies at pixel `start + jump i`, counted from 0."""

    size: int
    before: int = 0
    start: float = 0.0
    jump: float = 1.0

    def centre(self, side: int) -> float:
        """Where the middle cell looks, in cells of an even division of the film."""
        middle = (self.size - 1) / 2
        return (self.start + self.jump * middle + 0.5) * self.size / side - middle

    def step(self, *, kernel: int, stride: int, padding: int, size: int) -> None:
        self.start += ((kernel - 1) / 2 - padding) * self.jump
        self.jump *= stride
        self.before, self.size = self.size, size


@torch.no_grad()
def measure_map(network: nn.Module, forward: Callable[[Tensor], Tensor], *, side: int) -> MapShape:
    """Channels, rows and place of the cells for one film of zeros [1, 1, side, side], in evaluation mode.

    A convolution or pool of kernel k, stride s and padding p moves the centre of the first cell by
    ((k - 1) / 2 - p) j pixels, where j is the stride so far, and multiplies j by s (Dumoulin and Visin 2016,
    arXiv 1603.07285). Layers that halve side by side, such as a shortcut, are counted once. What a network
    halves by other means, as the merging of patches does, is taken to be centred [ours]. Where the stride
    does not divide the film evenly, the place is right for the middle of the film.

    Args:
        network: whose layers are watched.
        forward: film to feature map [1, C, rows, columns].
        side: of the film, pixels.
    """
    was_training = network.training
    with _watched(network, _Path(size=side)) as path:
        features = forward(torch.zeros(1, 1, side, side))
    network.train(was_training)
    rows = features.shape[2] if features.dim() == 4 else 0
    if rows and (left := round(path.size / rows)) > 1:
        path.step(kernel=left, stride=left, padding=0, size=rows)
    return MapShape(channels=features.shape[1], rows=rows, cell_centre=path.centre(side) if rows else 0.5)


@contextmanager
def _watched(network: nn.Module, path: _Path) -> Iterator[_Path]:
    """Follows a film through every strided layer of a network in evaluation mode."""

    def follow(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        kernel, stride, padding = (_first(getattr(layer, n)) for n in ("kernel_size", "stride", "padding"))
        added = inputs[0].shape[-2] - path.size  # by padding of its own before the layer, less of it first
        if stride > 1 and 0 <= added < kernel and inputs[0].shape[-2] != path.before:
            path.step(kernel=kernel, stride=stride, padding=padding + added // 2, size=output.shape[-2])

    strided = [module for module in network.modules() if isinstance(module, STRIDED)]
    hooks = [module.register_forward_hook(follow) for module in strided]
    try:
        network.eval()
        yield path
    finally:
        for hook in hooks:
            hook.remove()


def _first(value: int | tuple[int, ...] | str) -> int:
    """Of the two axes the first; padding given as a word ("same") is none of strided layers."""
    if isinstance(value, tuple):
        return value[0]
    return value if isinstance(value, int) else 0
