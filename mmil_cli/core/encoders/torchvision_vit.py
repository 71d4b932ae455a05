"""A vision transformer of torchvision as a grid of its patches."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.encoders.gray import take_one_channel
from mmil_cli.core.encoders.positions import resize_positions
from mmil_cli.errors import UsageError

BLOCK = "encoder.layers.encoder_layer_"


class TorchvisionTransformer(nn.Module):
    """The patches of a torchvision ViT (Dosovitskiy et al. 2021, arXiv 2010.11929) after one of its blocks.

    The tokens after that block go through the network's last norm, and those of the patches are the map; the
    [CLS] token takes part in attention and is left out then. Position embeddings are kept for the grid of
    224 pixels, whatever the size of the films, and interpolated bicubically to their grid at every call.

    Args:
        name: torchvision's name, such as `vit_b_16`.
        layer: block to cut after, by its name or its number from 0; empty for the last.

    Attributes:
        patch: side of a patch, pixels; films must be a multiple of it.
        cell_centre: where a cell looks, as a share of its side from the upper left.
        output_channels: of the feature map.
    """

    cell_centre = 0.5

    def __init__(self, name: str, *, layer: str = "") -> None:
        super().__init__()
        from torchvision.models import get_model

        body = get_model(name, weights=None)
        body.heads = nn.Identity()
        take_one_channel(body, name=name)
        blocks = body.encoder.layers
        body.encoder.layers = blocks[: _place(layer, len(blocks), name) + 1]
        self.body = body
        self.patch = int(body.patch_size)
        self.output_channels = int(body.hidden_dim)

    def forward(self, x: Float[Tensor, "image 1 height width"]) -> Float[Tensor, "image out rows columns"]:
        """The patches of the chosen block."""
        encoder = self.body.encoder
        planes = self.body.conv_proj(x)
        rows, columns = planes.shape[-2:]
        mark = self.body.class_token.expand(len(x), -1, -1)
        tokens = torch.cat([mark, planes.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + resize_positions(encoder.pos_embedding, rows=rows, columns=columns, num_marks=1)
        tokens = encoder.ln(encoder.layers(encoder.dropout(tokens)))
        return tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))


def _place(layer: str, num_blocks: int, name: str) -> int:
    number = layer.removeprefix(BLOCK) or str(num_blocks - 1)
    if not number.isdecimal() or int(number) >= num_blocks:
        raise UsageError(
            f"image encoder {name} has no layer {layer!r}; its blocks: 0 to {num_blocks - 1} "
            f"(or {BLOCK}0 to {BLOCK}{num_blocks - 1})"
        )
    return int(number)
