"""Names of tensors in timm's networks as torchvision has them, where the layers are the same.

ResNets and DenseNets have the same names in both; ViTs, ConvNeXts and MobileNetV2 have not.
"""

import re
from collections.abc import Mapping

from torch import Tensor

# Pattern and replacement, of which the first that fits counts; tensors that fit none keep their names.
VIT = (
    (r"cls_token", "class_token"),
    (r"pos_embed", "encoder.pos_embedding"),
    (r"patch_embed\.proj\.", "conv_proj."),
    (r"blocks\.(\d+)\.norm([12])\.", r"encoder.layers.encoder_layer_\1.ln_\2."),
    (
        r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)",
        r"encoder.layers.encoder_layer_\1.self_attention.in_proj_\2",
    ),
    (r"blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.encoder_layer_\1.self_attention.out_proj."),
    (r"blocks\.(\d+)\.mlp\.fc1\.", r"encoder.layers.encoder_layer_\1.mlp.0."),
    (r"blocks\.(\d+)\.mlp\.fc2\.", r"encoder.layers.encoder_layer_\1.mlp.3."),
    (r"norm\.", "encoder.ln."),
    (r"head\.", "heads.head."),
)
CONVNEXT_PARTS = {"conv_dw": 0, "norm": 2, "mlp.fc1": 3, "mlp.fc2": 5}
MOBILENET_STAGES = (1, 2, 3, 4, 3, 3, 1)  # blocks of each stage of MobileNetV2
MOBILENET_PARTS = {
    "conv_pw": "0.0",
    "bn1": "0.1",
    "conv_dw": "1.0",
    "bn2": "1.1",
    "conv_pwl": "2",
    "bn3": "3",
}
MOBILENET_FIRST = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}


def as_torchvision(tensors: Mapping[str, Tensor], *, name: str) -> dict[str, Tensor] | None:
    """The tensors of a timm network under the names of torchvision's network `name`.

    None where they are not timm's, or of a family that has the same names in both.
    """
    if name.startswith("vit") and "patch_embed.proj.weight" in tensors:
        return {_replaced(key): tensor for key, tensor in tensors.items()}
    if name.startswith("convnext") and "stem.0.weight" in tensors:
        found = {_of_convnext(key): tensor for key, tensor in tensors.items()}
        return {key: x[:, None, None] if key.endswith("layer_scale") else x for key, x in found.items()}
    if name == "mobilenet_v2" and "conv_stem.weight" in tensors:
        return {_of_mobilenet(key): tensor for key, tensor in tensors.items()}
    return None


def _replaced(key: str) -> str:
    for pattern, replacement in VIT:
        if re.match(pattern, key):
            return re.sub(f"^{pattern}", replacement, key)
    return key


def _of_convnext(key: str) -> str:
    if found := re.fullmatch(r"stem\.(\d)\.(\w+)", key):
        return f"features.0.{found[1]}.{found[2]}"
    if found := re.fullmatch(r"stages\.(\d)\.downsample\.(\d)\.(\w+)", key):
        return f"features.{2 * int(found[1])}.{found[2]}.{found[3]}"
    if found := re.fullmatch(r"stages\.(\d)\.blocks\.(\d+)\.gamma", key):
        return f"features.{2 * int(found[1]) + 1}.{found[2]}.layer_scale"
    if found := re.fullmatch(r"stages\.(\d)\.blocks\.(\d+)\.(conv_dw|norm|mlp\.fc[12])\.(\w+)", key):
        place = CONVNEXT_PARTS[found[3]]
        return f"features.{2 * int(found[1]) + 1}.{found[2]}.block.{place}.{found[4]}"
    return key.replace("head.norm.", "classifier.0.").replace("head.fc.", "classifier.2.")


def _of_mobilenet(key: str) -> str:
    for old, new in (("conv_stem.", "0.0."), ("bn1.", "0.1."), ("conv_head.", "18.0."), ("bn2.", "18.1.")):
        if key.startswith(old):
            return f"features.{new}{key.removeprefix(old)}"
    found = re.fullmatch(r"blocks\.(\d)\.(\d)\.(\w+)\.(\w+)", key)
    if not found:
        return key.replace("classifier.", "classifier.1.")
    stage, place = int(found[1]), int(found[2])
    parts = MOBILENET_PARTS if stage else MOBILENET_FIRST
    number = 1 + sum(MOBILENET_STAGES[:stage]) + place
    return f"features.{number}.conv.{parts.get(found[3], found[3])}.{found[4]}"
