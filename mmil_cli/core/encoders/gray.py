"""A network for colours becomes one for gray films, without a change of what it computes."""

import torch
from torch import nn

from mmil_cli.errors import UsageError

COLOURS = 3


@torch.no_grad()
def take_one_channel(network: nn.Module, *, name: str) -> None:
    """Gives the first convolution for colours one channel, with its weights summed over colours.

    sum_c W_c * x = (sum_c W_c) * x: the output is that of the film repeated to three colours that are all
    normalised alike, to the rounding of the sum; the work of the layer is a third.

    Args:
        network: changed in place.
        name: of the network, for the message.

    Raises:
        UsageError: no layer takes three colours.
    """
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == COLOURS:
            parent, _, last = path.rpartition(".")
            setattr(network.get_submodule(parent), last, _of_one_channel(module))
            return
    raise UsageError(f"image encoder {name} has no convolution that takes the three colours of an image")


def _of_one_channel(layer: nn.Conv2d) -> nn.Conv2d:
    one = nn.utils.skip_init(
        nn.Conv2d,
        1,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        bias=layer.bias is not None,
    )
    one.weight.copy_(layer.weight.sum(dim=1, keepdim=True))
    if layer.bias is not None:
        assert one.bias is not None
        one.bias.copy_(layer.bias)
    return one
