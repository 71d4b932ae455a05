"""A Hugging Face vision model as a grid of features."""

import inspect
import math
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.encoders.gray import take_one_channel
from mmil_cli.core.encoders.places import measure_map
from mmil_cli.errors import UsageError

POSITIONS = "interpolate_pos_encoding"


class HuggingFaceImage(nn.Module):
    """The last hidden state of a Hugging Face vision model as a map, for gray films.

    Convolutional models give a map. Of the tokens of a transformer those of the patches are the map; marks
    before them ([CLS], registers) are left out. Position embeddings are interpolated to the films' grid at
    every call where the model knows how to (as ViT, DINOv2 and CLIP do); others take films of their size.

    Args:
        network: a model whose output has `last_hidden_state`; changed in place by `prepare_network`.
        name: of the model, for messages.
        side: of the films, pixels, to try it on.

    Attributes:
        patch: films must be a multiple of it, pixels.
        cell_centre: where a cell looks, as a share of its side from the upper left.
        output_channels: of the feature map.
    """

    def __init__(self, network: nn.Module, *, name: str, side: int) -> None:
        super().__init__()
        prepare_network(network, name=name)
        self.body = network
        accepts = inspect.signature(network.forward).parameters
        self.options = {POSITIONS: True} if POSITIONS in accepts else {}
        size = getattr(network.config, "patch_size", None)
        self.patch = int(size[0] if isinstance(size, list | tuple) else size or 1)
        if side % self.patch == 0:  # otherwise whoever builds it refuses
            self.output_channels, self.cell_centre = self._measure(name, side)

    def forward(self, x: Float[Tensor, "image 1 height width"]) -> Float[Tensor, "image out rows columns"]:
        """The features of each cell."""
        return self._map(x)

    def _map(self, x: Tensor) -> Tensor:
        states: Tensor = self.body(pixel_values=x, **self.options).last_hidden_state
        return states if states.dim() == 4 else self._as_map(states, *x.shape[-2:])

    def _as_map(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """[B, T, C] as [B, C, rows, columns]; a transformer in stages has merged some of its patches."""
        rows, columns = height // self.patch, width // self.patch
        if tokens.shape[1] < rows * columns:
            rows = math.isqrt(tokens.shape[1] * height // width)
            columns = tokens.shape[1] // max(1, rows)
        num_marks = tokens.shape[1] - rows * columns
        return tokens[:, num_marks:].transpose(1, 2).unflatten(2, (rows, columns))

    def _measure(self, name: str, side: int) -> tuple[int, float]:
        try:
            found = measure_map(self, self._map, side=side)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            # Whatever a model of any make says of input that it cannot take, or lacks in its output.
            first_line = str(error).strip().split("\n")[0]
            raise UsageError(
                f"image encoder {name} gives no grid of features for films of {side} pixels ({first_line}); "
                "take another image.size or another model"
            ) from error
        if self.patch > 1 and side % found.rows:
            raise UsageError(
                f"image encoder {name} divides films of {side} pixels into {found.rows} rows unevenly; "
                f"give an image.size that is a multiple of {-(-side // found.rows)}"
            )
        return found.channels, found.cell_centre


def prepare_network(network: Any, *, name: str) -> None:
    """Makes a Hugging Face model one for gray films, without its pooler.

    Some models check their input against the number of channels of their configuration. A pooler with weights
    is of no use here, and would be saved.

    Raises:
        UsageError: no layer takes three colours.
    """
    if network.config.num_channels != 1:
        take_one_channel(network, name=name)
        network.config.num_channels = 1
        for module in network.modules():
            if isinstance(getattr(module, "num_channels", None), int):
                module.num_channels = 1
    pooler = getattr(network, "pooler", None)
    if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
        network.pooler = None
