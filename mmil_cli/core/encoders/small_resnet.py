"""A small residual network that trains from scratch on a laptop."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two convolutions with batch norm and a shortcut (He et al. 2016, basic block), centred when it halves.

    Strides of 2 take even kernels (4 x 4, and a 2 x 2 mean in the shortcut): with the usual odd ones, cell i
    looks at pixel 2i instead of the middle of its two pixels, and after some stages every similarity map
    lies half a region too far down and to the right.
    """

    def __init__(self, input_channels: int, output_channels: int, *, halve: bool) -> None:
        super().__init__()
        assert halve or input_channels == output_channels
        kernel, stride = (4, 2) if halve else (3, 1)
        self.conv1 = nn.Conv2d(input_channels, output_channels, kernel, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(output_channels)
        self.conv2 = nn.Conv2d(output_channels, output_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(output_channels)
        self.shortcut = (
            nn.Sequential(
                nn.AvgPool2d(2),
                nn.Conv2d(input_channels, output_channels, 1, bias=False),
                nn.BatchNorm2d(output_channels),
            )
            if halve
            else nn.Identity()
        )

    def forward(
        self, x: Float[Tensor, "image channel row column"]
    ) -> Float[Tensor, "image out rows columns"]:
        """The block's output, on a grid of half the rows and columns if it halves."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut(x), inplace=True)


class SmallResNet(nn.Module):
    """A stem of stride 2, then one stage of residual blocks a width, whose first block halves the grid.

    With four widths the grid is the input divided by 32, with three by 16; every cell is centred on its
    pixels. The spirit is that of the
    image encoder of local mutual information (arXiv 2103.04537: a small residual net from scratch), not
    its exact layers.

    Args:
        input_channels: 1 for grayscale films.
        widths: channels of each stage; the last is the feature dimension.
        blocks: residual blocks in each stage.

    Attributes:
        cell_centre: where a cell looks, as a share of its side from the upper left.
        output_channels: of the feature map.
    """

    cell_centre = 0.5

    def __init__(self, *, input_channels: int = 1, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        stem_channels = max(1, widths[0] // 2)  # the largest maps: half the channels take half the time
        self.stem = nn.Sequential(
            nn.Conv2d(input_channels, stem_channels, 6, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(stem_channels),
            nn.ReLU(inplace=True),
        )
        layers: list[nn.Module] = []
        channels = stem_channels
        for width in widths:
            layers.append(ResidualBlock(channels, width, halve=True))
            layers.extend(ResidualBlock(width, width, halve=False) for _ in range(blocks - 1))
            channels = width
        self.stages = nn.Sequential(*layers)
        self.output_channels = channels

    def forward(
        self, x: Float[Tensor, "image channel height width"]
    ) -> Float[Tensor, "image out rows columns"]:
        """The feature map of the last stage."""
        return self.stages(self.stem(x))
