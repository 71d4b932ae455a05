"""Weights of an image encoder from a local file or from torchvision, loaded strictly and reported."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from mmil_cli.checkpoint import load_strictly, read_tensors
from mmil_cli.core.encoders.torchvision_backbone import TorchvisionBackbone
from mmil_cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """What a weight file gave.

    Attributes:
        source: file or name.
        num_loaded: tensors that went into the encoder.
        unused: tensors of the network beyond the layer it is cut at, such as its classifier.
    """

    source: str
    num_loaded: int
    unused: tuple[str, ...]


def load_image_weights(encoder: nn.Module, *, name: str, source: str) -> LoadedWeights | None:
    """Gives an encoder the weights the recipe names; `none` leaves it as it was initialised.

    Raises:
        UsageError: no such file, or no network to fetch torchvision's weights; says the local way.
        CheckpointError: tensors are missing, unexpected or mis-shaped.
    """
    if source == "none":
        return None
    tensors = _torchvision_weights(name) if source == "torchvision" else _read_file(Path(source))
    if not isinstance(encoder, TorchvisionBackbone):
        load_strictly(encoder, tensors, where=source)
        return LoadedWeights(source=source, num_loaded=len(tensors), unused=())
    return _load_backbone(encoder, tensors, name=name, source=source)


def _load_backbone(
    encoder: TorchvisionBackbone, tensors: Mapping[str, Tensor], *, name: str, source: str
) -> LoadedWeights:
    """Tensors of the whole network may be left over; tensors of any other network may not."""
    from torchvision.models import get_model

    wanted = encoder.body.state_dict()
    network = get_model(name, weights=None).state_dict().keys()
    unused = tuple(sorted((tensors.keys() & network) - wanted.keys()))
    kept = {key: tensor for key, tensor in tensors.items() if key not in unused}
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    load_strictly(encoder.body, {**counters, **kept}, where=source)  # old files lack batch norm's counters
    return LoadedWeights(source=source, num_loaded=len(kept), unused=unused)


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UsageError(
            f"image.weights: no file {path}; give a .safetensors or .pth state dict, torchvision, or none"
        )
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        tensors = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise UsageError(
            f"image.weights: {path} is no state dict that can be read safely; save it as .safetensors"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UsageError(
            f"image.weights: {path} holds no plain state dict of tensors; save it as .safetensors"
        )
    return tensors


def _torchvision_weights(name: str) -> Mapping[str, Tensor]:
    from torchvision.models import get_model_weights

    try:
        return get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, ValueError) as error:
        raise UsageError(
            f"image.weights: torchvision's weights of {name} cannot be fetched ({error}); "
            "on a machine with a network save its state dict as .safetensors and give that file"
        ) from error
