"""Weights of an image encoder from a file, a folder, a hub or torchvision, loaded strictly and reported."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from mmil_cli.checkpoint import CARD, WEIGHTS, load_strictly, open_checkpoint, read_tensors
from mmil_cli.core.encoders.blocks import network_of
from mmil_cli.core.encoders.gray import COLOURS
from mmil_cli.core.encoders.hugging_face_image import HuggingFaceImage, prepare_network
from mmil_cli.core.encoders.positions import grid_side, resize_positions
from mmil_cli.core.encoders.small_resnet import SmallResNet
from mmil_cli.core.encoders.timm_names import as_torchvision
from mmil_cli.errors import UsageError, listing

AUTO, NONE, TORCHVISION = "auto", "none", "torchvision"
IMAGE_TOWER = "image_encoder."
WRAPPERS = ("module.", IMAGE_TOWER, "body.")
WITHIN = ("state_dict", "model")
POSITIONS = "encoder.pos_embedding"
DEFAULT_NORMALISATION = (0.5, 0.25)


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """What a source of weights gave.

    Attributes:
        source: file, folder or name.
        num_loaded: tensors that went into the encoder; all that it has.
        unused: tensors of the source for layers beyond the one it is cut at, such as the classifier.
        adapted: what was done to some, so that they fit.
    """

    source: str
    num_loaded: int
    unused: tuple[str, ...]
    adapted: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"{self.num_loaded} tensors from {self.source}, every one it has"
        if self.adapted:
            said += f"; {', '.join(self.adapted)}"
        if self.unused:
            said += f"; not used, as they come after the layer it is cut at: {listing(list(self.unused))}"
        return said


def load_image_weights(
    encoder: nn.Module, *, name: str, source: str, layer: str = ""
) -> LoadedWeights | None:
    """Gives an encoder the weights the recipe names; `none` leaves it as it was initialised.

    Args:
        encoder: gets all its weights, or none.
        name: of the encoder in the recipe.
        source: `auto` (a Hugging Face encoder's own, none for others), `none`, `torchvision`, a state dict in
            a file or folder, a checkpoint or run of ours, or a model on the hub; tensors may be named as in
            torchvision, timm or our checkpoints.
        layer: that the encoder is cut at.

    Raises:
        UsageError: no such source, or no network to fetch it; says the local way.
        CheckpointError: tensors are missing, unexpected or mis-shaped.
    """
    if source == NONE or (source == AUTO and not isinstance(encoder, HuggingFaceImage)):
        return None
    if source == AUTO:
        assert isinstance(encoder, HuggingFaceImage)
        return _load_from_hub(encoder, name=name, layer=layer)
    given = _without_wrapping(_torchvision_weights(name) if source == TORCHVISION else _read(source))
    tensors = as_torchvision(given, name=name) or given
    unused = _beyond_the_cut(encoder, tensors, name=name)
    kept = {key: tensor for key, tensor in tensors.items() if key not in unused}
    network = network_of(encoder)
    fitted, adapted = _fitted(kept, network.state_dict())
    load_strictly(network, fitted, where=source)
    return LoadedWeights(source=source, num_loaded=len(kept), unused=unused, adapted=adapted)


def origin_normalisation(*, name: str, source: str) -> tuple[float, float]:
    """Mean and standard deviation of the gray levels in [0, 1] that weights were made for.

    Those of the colours, averaged, as torchvision, the folder or hub page of the source, or the card of a
    checkpoint states them; 0.5 and 0.25 where nothing is stated, as by a lone file, or nothing is loaded.
    """
    if source == TORCHVISION:
        return _torchvision_normalisation(name)
    if source not in (AUTO, NONE) and _is_checkpoint(Path(source)):
        image = open_checkpoint(Path(source)).card.image
        return float(image["mean"]), float(image["std"])
    origin = name if source == AUTO else source
    if source == NONE or not (Path(origin).is_dir() or is_hub_name(origin)):
        return DEFAULT_NORMALISATION
    from mmil_cli.hub import stated_normalisation

    return stated_normalisation(origin) or DEFAULT_NORMALISATION


def is_hub_name(name: str) -> bool:
    """Whether it may be OWNER/NAME on the hub: no path that exists, and no file of weights."""
    parts = name.split("/")
    looks_like = len(parts) == 2 and all(parts) and parts[0] not in (".", "..", "~")
    return looks_like and not Path(name).exists() and Path(name).suffix not in (".safetensors", ".pth", ".pt")


def _load_from_hub(encoder: HuggingFaceImage, *, name: str, layer: str) -> LoadedWeights:
    from mmil_cli.hub import fetch_image_network

    found = fetch_image_network(name, layer=layer)
    prepare_network(found.network, name=name)
    tensors = found.network.state_dict()
    load_strictly(encoder.body, tensors, where=name)
    return LoadedWeights(source=name, num_loaded=len(tensors), unused=found.unused)


def _beyond_the_cut(encoder: nn.Module, tensors: Mapping[str, Tensor], *, name: str) -> tuple[str, ...]:
    """Tensors for later layers of the whole network, whatever size its classifier has; of any other, none."""
    if isinstance(encoder, SmallResNet | HuggingFaceImage):
        return ()
    from torchvision.models import get_model

    with torch.device("meta"):
        whole = get_model(name, weights=None)
    wanted = network_of(encoder).state_dict().keys()
    heads = {child for child, _ in whole.named_children()} - {key.split(".")[0] for key in wanted}
    later = whole.state_dict().keys() - wanted
    return tuple(sorted(key for key in tensors if key in later or key.split(".")[0] in heads))


def _fitted(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors with the shapes of the encoder where a rule says how, and what was done."""
    fitted, adapted = dict(tensors), []
    for key, tensor in tensors.items():
        shape = wanted[key].shape if key in wanted else tensor.shape
        if tensor.shape != shape and tensor.shape == (shape[0], COLOURS, *shape[2:]) and shape[1] == 1:
            fitted[key] = tensor.sum(dim=1, keepdim=True)
            adapted.append(f"{key} summed over its colours")
        elif tensor.shape != shape and key == POSITIONS and grid_side(tensor, num_marks=1):
            side = grid_side(wanted[key], num_marks=1)
            fitted[key] = resize_positions(tensor, rows=side, columns=side, num_marks=1)
            adapted.append(f"{key} interpolated from {tensor.shape[1] - 1} places to {side * side}")
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    return {**counters, **fitted}, tuple(adapted)  # old files lack batch norm's counters


def _read(source: str) -> Mapping[str, Tensor]:
    path = Path(source)
    if _is_checkpoint(path):
        tensors = read_tensors(open_checkpoint(path).folder / WEIGHTS)
        return {key: tensor for key, tensor in tensors.items() if key.startswith(IMAGE_TOWER)}
    if path.is_dir():
        from mmil_cli.hub import WEIGHT_FILES

        files = [path / name for name in WEIGHT_FILES if (path / name).is_file()]
        if not files:
            raise UsageError(
                f"image.weights: {path} is no checkpoint and has none of {', '.join(WEIGHT_FILES)}"
            )
        return _read_file(files[0])
    if path.is_file():
        return _read_file(path)
    if is_hub_name(source):
        from mmil_cli.hub import fetch_weight_file

        return _read_file(fetch_weight_file(source))
    raise UsageError(
        f"image.weights: no file {path}; give a .safetensors or .pth state dict, a checkpoint of mmil, a "
        "model on the hub (OWNER/NAME), torchvision, auto, or none"
    )


def _is_checkpoint(path: Path) -> bool:
    return any((folder / CARD).is_file() for folder in (path, path / "checkpoint"))


def _read_file(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise UsageError(
            f"image.weights: {path} is no state dict that can be read safely; save it as .safetensors"
        ) from error
    inner = [content[key] for key in WITHIN if key in content] if isinstance(content, dict) else []
    tensors = inner[0] if inner and isinstance(inner[0], dict) else content
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UsageError(
            f"image.weights: {path} holds no plain state dict of tensors; save it as .safetensors"
        )
    return tensors


def _without_wrapping(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Names without what every one begins with: that of a wrapper, or of our image tower."""
    for prefix in WRAPPERS:
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
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


def _torchvision_normalisation(name: str) -> tuple[float, float]:
    from torchvision.models import get_model_weights

    try:
        transforms = get_model_weights(name).DEFAULT.transforms()
    except ValueError:  # no network of torchvision's; loading says so
        return DEFAULT_NORMALISATION
    mean, std = (sum(getattr(transforms, key)) / COLOURS for key in ("mean", "std"))
    return mean, std
