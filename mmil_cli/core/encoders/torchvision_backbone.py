"""Any torchvision classification network, cut at the layer whose grid is wanted."""

import re

from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.encoders.blocks import blocks_of
from mmil_cli.core.encoders.gray import take_one_channel
from mmil_cli.core.encoders.places import measure_map
from mmil_cli.errors import UsageError, nearest

# Where each family's last feature map is.
LAST_LAYER = (
    (r"(resnet|resnext|wide_resnet)", "layer4"),
    (r"mobilenet_v2", "features.18"),
    (r"mobilenet_v3", "features"),
    (r"densenet", "features"),
    (r"convnext", "features"),
    (r"swin", "permute"),
    (r"efficientnet", "features"),
    (r"regnet", "trunk_output"),
    (r"(vgg|squeezenet|alexnet)", "features"),
    (r"mnasnet", "layers"),
    (r"shufflenet", "conv5"),
)
CHANNELS_LAST = r"swin.* features"  # a family whose layers give [B, rows, columns, C]


class TorchvisionBackbone(nn.Module):
    """A torchvision network's feature map at one of its layers, for gray films (`take_one_channel`).

    Args:
        name: torchvision's name, such as `resnet50`.
        layer: node to cut at (`layer3`, `features.13`); empty for the family's last feature map.
        side: of the films, pixels, to try it on.

    Attributes:
        cell_centre: where a cell looks, as a share of its side from the upper left.
        output_channels: of the feature map.
        patch: 1, for films may have any size.
    """

    patch = 1

    def __init__(self, name: str, *, layer: str = "", side: int = 128) -> None:
        super().__init__()
        from torchvision.models import get_model
        from torchvision.models.feature_extraction import create_feature_extractor

        refuse_unknown(name)
        network = get_model(name, weights=None)
        node = layer or last_layer(name)
        self.is_channels_last = bool(re.match(CHANNELS_LAST, f"{name} {node}"))
        try:
            self.body = create_feature_extractor(network, {node: "map"})
        except ValueError as error:
            names = ", ".join(block.name for block in blocks_of(network))
            raise UsageError(f"image encoder {name} has no layer {layer!r}; its parts: {names}") from error
        take_one_channel(self.body, name=name)
        self.output_channels, self.cell_centre = self._measure(name, side)

    def forward(self, x: Float[Tensor, "image 1 height width"]) -> Float[Tensor, "image out rows columns"]:
        """The feature map of the chosen layer."""
        return self._map(x)

    def _map(self, x: Tensor) -> Tensor:
        features = self.body(x)["map"]
        return features.permute(0, 3, 1, 2) if self.is_channels_last else features

    def _measure(self, name: str, side: int) -> tuple[int, float]:
        """Channels, and where cells look."""
        try:
            found = measure_map(self, self._map, side=side)
        except (RuntimeError, AssertionError) as error:  # of torch, for films that shrink to nothing
            raise UsageError(
                f"image encoder {name} takes no films of {side} pixels ({_first_line(error)}); "
                "give another image.size"
            ) from error
        if not found.rows:
            raise UsageError(
                "the chosen layer gives no feature map of rows and columns; choose an earlier one"
            )
        return found.channels, found.cell_centre


def refuse_unknown(name: str) -> None:
    """Refuses a name that is none of torchvision's.

    Raises:
        UsageError: with the nearest name.
    """
    from torchvision.models import list_models

    if name not in list_models():
        raise UsageError(
            f"unknown image encoder {name!r}{nearest(name, list_models())}; known: small, the names of "
            "torchvision's classification networks, and Hugging Face models by folder or by OWNER/NAME"
        )


def last_layer(name: str) -> str:
    """The node of the last feature map of a torchvision family.

    Raises:
        UsageError: the family has no feature map that mmil knows of.
    """
    for pattern, layer in LAST_LAYER:
        if re.match(pattern, name):
            return layer
    raise UsageError(f"image encoder {name}: name the layer to cut at (image.layer in the recipe)")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
