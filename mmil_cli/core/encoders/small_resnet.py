"""A small residual network that trains from scratch on a laptop."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm and a shortcut (He et al. 2016, basic block)."""

    def __init__(self, input_channels: int, output_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_channels, output_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(output_channels)
        self.conv2 = nn.Conv2d(output_channels, output_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(output_channels)
        same_shape = stride == 1 and input_channels == output_channels
        self.shortcut = (
            nn.Identity()
            if same_shape
            else nn.Sequential(
                nn.Conv2d(input_channels, output_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(output_channels),
            )
        )

    def forward(
        self, x: Float[Tensor, "image channel row column"]
    ) -> Float[Tensor, "image out rows columns"]:
        """The block's output, spatially divided by its stride."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut(x), inplace=True)


class SmallResNet(nn.Module):
    """A stem of stride 2, then one stage of residual blocks a width, each of stride 2.

    With four widths the grid is the input divided by 32, with three by 16. The spirit is that of the
    image encoder of local mutual information (arXiv 2103.04537: a small residual net from scratch), not
    its exact layers.

    Args:
        input_channels: 1 for grayscale films.
        widths: channels of each stage; the last is the feature dimension.
        blocks: residual blocks in each stage.
    """

    def __init__(self, *, input_channels: int = 1, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(input_channels, widths[0], 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        layers: list[nn.Module] = []
        channels = widths[0]
        for width in widths:
            layers.append(ResidualBlock(channels, width, stride=2))
            layers.extend(ResidualBlock(width, width, stride=1) for _ in range(blocks - 1))
            channels = width
        self.stages = nn.Sequential(*layers)
        self.output_channels = channels

    def forward(
        self, x: Float[Tensor, "image channel height width"]
    ) -> Float[Tensor, "image out rows columns"]:
        """The feature map of the last stage."""
        return self.stages(self.stem(x))
