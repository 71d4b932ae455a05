"""Any torchvision classification network, cut at the layer whose grid is wanted."""

import re

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.errors import UsageError, nearest

# Families whose strides have odd kernels look at pixel `stride x i`, the corner of cell i; these look at
# its middle, because their strides are patches or pools of two.
CENTRED = r"(convnext|vgg)"
# Where each family's last feature map is. Transformers give tokens, which need another cut.
LAST_LAYER = (
    (r"(resnet|resnext|wide_resnet)", "layer4"),
    (r"mobilenet_v2", "features.18"),
    (r"mobilenet_v3", "features"),
    (r"densenet", "features"),
    (r"convnext", "features"),
    (r"efficientnet", "features"),
    (r"(regnet)", "trunk_output"),
    (r"(vgg|squeezenet|alexnet)", "features"),
)


class TorchvisionBackbone(nn.Module):
    """A torchvision network's feature map at one of its layers.

    Grayscale films are repeated to the three channels that the networks expect.

    Args:
        name: torchvision's name, such as `resnet50`.
        layer: node to cut at (`layer3`, `features.13`); empty for the family's last feature map.

    Attributes:
        cell_centre: where a cell looks, as a share of its side from the upper left.
        output_channels: of the feature map.
    """

    def __init__(self, name: str, *, layer: str = "") -> None:
        super().__init__()
        from torchvision.models import get_model, list_models
        from torchvision.models.feature_extraction import create_feature_extractor

        if name not in list_models():
            raise UsageError(
                f"unknown image encoder {name!r}{nearest(name, list_models())}; "
                "known: small, and the names of torchvision's classification networks"
            )
        network = get_model(name, weights=None)
        try:
            self.body = create_feature_extractor(network, {layer or last_layer(name): "map"})
        except ValueError as error:
            names = ", ".join(child for child, _ in network.named_children())
            raise UsageError(f"image encoder {name} has no layer {layer!r}; its parts: {names}") from error
        self.output_channels, stride = self._probe()
        self.cell_centre = 0.5 if re.match(CENTRED, name) else 0.5 / stride

    def forward(self, x: Float[Tensor, "image 1 height width"]) -> Float[Tensor, "image out rows columns"]:
        """The feature map of the chosen layer."""
        return self.body(x.expand(-1, 3, -1, -1))["map"]

    @torch.no_grad()
    def _probe(self) -> tuple[int, float]:
        """Channels and stride of the feature map."""
        was_training = self.training
        side = 128
        features = self.eval().body(torch.zeros(1, 3, side, side))["map"]
        self.train(was_training)
        if features.dim() != 4:
            raise UsageError(
                "the chosen layer gives no feature map of rows and columns; choose an earlier one"
            )
        return features.shape[1], side / features.shape[2]


def last_layer(name: str) -> str:
    """The node of the last feature map of a torchvision family.

    Raises:
        UsageError: the family has no feature map that mmil knows of.
    """
    for pattern, layer in LAST_LAYER:
        if re.match(pattern, name):
            return layer
    raise UsageError(f"image encoder {name}: name the layer to cut at (image.layer in the recipe)")
