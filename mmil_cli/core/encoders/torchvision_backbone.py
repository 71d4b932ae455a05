"""Any torchvision classification network, cut at the layer whose grid is wanted."""

import re

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.errors import UsageError, nearest

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
        self.output_channels = self._output_channels()

    def forward(self, x: Float[Tensor, "image 1 height width"]) -> Float[Tensor, "image out rows columns"]:
        """The feature map of the chosen layer."""
        return self.body(x.expand(-1, 3, -1, -1))["map"]

    @torch.no_grad()
    def _output_channels(self) -> int:
        was_training = self.training
        features = self.eval().body(torch.zeros(1, 3, 64, 64))["map"]
        self.train(was_training)
        if features.dim() != 4:
            raise UsageError(
                "the chosen layer gives no feature map of rows and columns; choose an earlier one"
            )
        return features.shape[1]


def last_layer(name: str) -> str:
    """The node of the last feature map of a torchvision family.

    Raises:
        UsageError: the family has no feature map that mmil knows of.
    """
    for pattern, layer in LAST_LAYER:
        if re.match(pattern, name):
            return layer
    raise UsageError(f"image encoder {name}: name the layer to cut at (image.layer in the recipe)")
