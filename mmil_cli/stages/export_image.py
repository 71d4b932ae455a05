"""The image tower as a Hugging Face folder that AutoModel opens, where transformers has its form."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel, PreTrainedModel, ViTImageProcessor
from transformers.models.convnext import ConvNextConfig, ConvNextModel
from transformers.models.resnet import ResNetConfig, ResNetModel

from mmil_cli.core.encoders.torchvision_backbone import TorchvisionBackbone
from mmil_cli.errors import UsageError
from mmil_cli.inference import ImageContract


def write_image_tower(encoder: nn.Module, folder: Path, *, name: str, contract: ImageContract) -> float:
    """Writes model and preprocessing, opens them again, and gives the largest difference of the feature map.

    The largest difference is relative to the largest feature.

    Args:
        encoder: the tower.
        folder: to write.
        name: of the encoder in the recipe.
        contract: how films are prepared; fitting a film into the square is left to the caller.

    Raises:
        UsageError: transformers has no network of its form.
    """
    network = as_transformers_have_it(encoder, name=name)
    network.save_pretrained(folder)
    channels = network.config.num_channels
    processor = ViTImageProcessor(
        do_resize=False,
        size={"height": contract.size, "width": contract.size},
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=[contract.mean] * channels,
        image_std=[contract.std] * channels,
        do_convert_rgb=channels > 1,
    )
    processor.save_pretrained(folder)
    return _check(encoder, folder, contract)


def as_transformers_have_it(encoder: nn.Module, *, name: str) -> PreTrainedModel:
    """The same function of a film, or of one with equal channels, as a network of transformers.

    Raises:
        UsageError: there is none of its form.
    """
    network = getattr(encoder, "body", None)
    if isinstance(network, PreTrainedModel):
        return network
    if isinstance(encoder, TorchvisionBackbone):
        weights = {key: value.detach() for key, value in encoder.body.state_dict().items()}
        for pattern, convert in FAMILIES.items():
            if re.fullmatch(pattern, name) and (found := convert(weights)) is not None:
                return found
    raise UsageError(
        f"transformers has no network of the form of this image tower (image.encoder={name}); "
        "what can be exported to it: torchvision's resnet and convnext networks cut after a whole stage, "
        "and Hugging Face's own; "
        "give --tower text for the other tower, or --to onnx for this one"
    )


def resnet(weights: dict[str, Tensor]) -> PreTrainedModel | None:
    """torchvision's ResNet, up to the last whole block that was kept; None where it was cut within one."""
    depths = _depths(weights, r"layer(\d)\.(\d+)\.")
    is_bottleneck = "layer1.0.conv3.weight" in weights
    last = "conv3" if is_bottleneck else "conv2"
    places = [f"layer{stage}.{depth - 1}.{last}.weight" for stage, depth in depths.items()]
    if not places or any(place not in weights for place in places):
        return None
    config = ResNetConfig(
        num_channels=weights["conv1.weight"].shape[1],
        embedding_size=len(weights["conv1.weight"]),
        hidden_sizes=[len(weights[place]) for place in places],
        depths=list(depths.values()),
        layer_type="bottleneck" if is_bottleneck else "basic",
    )
    return _filled(ResNetModel(config), _resnet_names(weights))


def convnext(weights: dict[str, Tensor]) -> PreTrainedModel | None:
    """torchvision's ConvNeXt; the norm that transformers puts behind the mean of the map is the identity."""
    depths = _depths(weights, r"features\.(\d)\.(\d+)\.block\.")
    places = [f"features.{stage}.0.layer_scale" for stage in depths]
    if not places or any(place not in weights for place in places):
        return None
    sizes = [len(weights[place]) for place in places]
    config = ConvNextConfig(
        num_channels=weights["features.0.0.weight"].shape[1],
        num_stages=len(depths),
        hidden_sizes=sizes,
        depths=list(depths.values()),
    )
    return _filled(ConvNextModel(config), _convnext_names(weights, sizes[-1]))


FAMILIES: dict[str, Callable[[dict[str, Tensor]], PreTrainedModel | None]] = {
    r"resnet\d+": resnet,
    r"convnext_\w+": convnext,
}
"""By torchvision's names."""


def _depths(weights: dict[str, Tensor], pattern: str) -> dict[int, int]:
    """How many blocks each stage has, by its number in torchvision's names."""
    depths: dict[int, int] = {}
    for key in weights:
        if place := re.match(pattern, key):
            stage, block = (int(number) for number in place.groups())
            depths[stage] = max(depths.get(stage, 0), block + 1)
    return dict(sorted(depths.items()))


def _filled(network: PreTrainedModel, named: Iterator[tuple[str, Tensor]]) -> PreTrainedModel | None:
    """The network with weights that must be all of its own; None where they are not."""
    weights = dict(named)
    wanted = network.state_dict()
    if weights.keys() != wanted.keys() or any(weights[key].shape != wanted[key].shape for key in weights):
        return None
    network.load_state_dict(weights, strict=True)
    return network.eval()


def _resnet_names(weights: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for key, value in weights.items():
        *place, module, kind = key.split(".")
        if not place:
            part = "convolution" if module.startswith("conv") else "normalization"
            yield f"embedder.embedder.{part}.{kind}", value
            continue
        stage, block = int(place[0].removeprefix("layer")) - 1, place[1]
        target = f"encoder.stages.{stage}.layers.{block}"
        if place[2:] == ["downsample"]:
            yield f"{target}.shortcut.{('convolution', 'normalization')[int(module)]}.{kind}", value
        else:
            part, number = re.fullmatch(r"(conv|bn)(\d)", module).groups()  # type: ignore[union-attr]
            name = {"conv": "convolution", "bn": "normalization"}[part]
            yield f"{target}.layer.{int(number) - 1}.{name}.{kind}", value


BLOCK = {"0": "dwconv", "2": "layernorm", "3": "pwconv1", "5": "pwconv2"}
"""Layers of a block of ConvNeXt by their places in torchvision's."""


def _convnext_names(weights: dict[str, Tensor], channels: int) -> Iterator[tuple[str, Tensor]]:
    yield "layernorm.weight", torch.ones(channels)
    yield "layernorm.bias", torch.zeros(channels)
    for key, value in weights.items():
        _, part, *place, kind = key.split(".")
        number = int(part)
        if number == 0:
            yield f"embeddings.{('patch_embeddings', 'layernorm')[int(place[0])]}.{kind}", value
        elif number % 2 == 0:  # halves the grid
            yield f"encoder.stages.{number // 2}.downsampling_layer.{place[0]}.{kind}", value
        else:
            target = f"encoder.stages.{number // 2}.layers.{place[0]}"
            if kind == "layer_scale":
                yield f"{target}.layer_scale_parameter", value.flatten()
            else:
                yield f"{target}.{BLOCK[place[2]]}.{kind}", value


@torch.inference_mode()
def _check(encoder: nn.Module, folder: Path, contract: ImageContract) -> float:
    network = AutoModel.from_pretrained(folder, trust_remote_code=False).eval()
    generator = torch.Generator().manual_seed(0)
    films = torch.randint(0, 256, (2, contract.size, contract.size), dtype=torch.uint8, generator=generator)
    processor = AutoImageProcessor.from_pretrained(folder)
    shown = [film.expand(network.config.num_channels, -1, -1) for film in films]
    pixels = processor(shown, return_tensors="pt")["pixel_values"]
    normalised = ((films.float() / 255 - contract.mean) / contract.std).unsqueeze(1)
    expected = encoder.eval()(normalised)
    found = network(pixels).last_hidden_state
    if found.dim() == 3:  # tokens: marks before the grid, row by row
        found = found[:, -expected[0, 0].numel() :].transpose(1, 2).unflatten(2, expected.shape[2:])
    return float((found - expected).abs().max() / expected.abs().max())
