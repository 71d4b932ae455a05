"""Hugging Face encoders and tokenizers by name or folder; imported only when a recipe asks for one."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError
from huggingface_hub.utils import logging as hub_logging
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging

from mmil_cli.errors import UsageError, listing

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
PREPROCESSING = "preprocessor_config.json"
CONFIG = "config.json"
# What a configuration works out from its depth.
FROM_DEPTH = ("stage_names", "out_features", "out_indices", "_out_features", "_out_indices", "num_layers")
LAST_NORM = "layernorm"


@dataclass(frozen=True, kw_only=True)
class FetchedNetwork:
    """A network with its weights.

    Attributes:
        network: in float32.
        unused: tensors of the source that it has no place for, such as a classifier.
    """

    network: nn.Module
    unused: tuple[str, ...]


def fetch_tokenizer(name: str) -> Tokenizer:
    """The fast tokenizer of an encoder.

    Raises:
        UsageError: the name is no folder and cannot be fetched, or the encoder has no fast tokenizer.
    """
    try:
        with _quietly():
            tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True)
    except (OSError, ValueError) as error:
        raise _unavailable("text.encoder", name, error) from error
    if not tokenizer.is_fast:
        raise UsageError(
            f"text.encoder: {name} has no fast tokenizer; save one as tokenizer.json in its folder"
        )
    return tokenizer.backend_tokenizer


def fetch_text_network(name: str) -> nn.Module:
    """A text encoder with its weights, from a folder or from the hub. Code of the repository is never run."""
    try:
        with _quietly():
            return AutoModel.from_pretrained(name, trust_remote_code=False).float()
    except (OSError, ValueError) as error:
        raise _unavailable("text.encoder", name, error) from error


def text_network_from_configuration(folder: Path) -> nn.Module:
    """The same architecture without weights, from the configuration that a checkpoint keeps."""
    return AutoModel.from_config(AutoConfig.from_pretrained(folder), trust_remote_code=False)


def save_configuration(name: str, folder: Path) -> None:
    """Keeps the configuration of an encoder in a folder, to build it again without its weights."""
    AutoConfig.from_pretrained(name).save_pretrained(folder)


def image_network(name: str, *, layer: str) -> nn.Module:
    """A vision model without weights, cut after a block or a stage.

    Args:
        name: folder, or name on the hub; only its configuration is read.
        layer: number of the block or stage to cut after, from 0; empty for the last.

    Raises:
        UsageError: the name is no folder and cannot be fetched, is no vision model, or has no such layer.
    """
    return AutoModel.from_config(_image_configuration(name, layer), trust_remote_code=False)


def fetch_image_network(name: str, *, layer: str) -> FetchedNetwork:
    """The same with its weights, every tensor found.

    Raises:
        UsageError: as `image_network`, or tensors are missing.
    """
    config = _image_configuration(name, layer)
    try:
        with _quietly():
            network, info = AutoModel.from_pretrained(
                name,
                config=config,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=bool(layer),
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise _unavailable("image.encoder", name, error) from error
    other = [str(found[0]) for found in info["mismatched_keys"]]
    # The norm after the last stage has the width of that stage; one of an earlier stage begins afresh.
    lacking = {*info["missing_keys"], *(key for key in other if not key.startswith(LAST_NORM))}
    missing = sorted(key for key in lacking if not _is_of_pooler(key))
    if missing:
        raise UsageError(f"image.encoder: {name} lacks tensors of the model: {listing(missing)}")
    return FetchedNetwork(network=network.float(), unused=tuple(sorted(info["unexpected_keys"])))


def image_network_from_configuration(configuration: Mapping[str, Any]) -> nn.Module:
    """The architecture alone, from what `image_configuration` gave."""
    fields = dict(configuration)
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    return AutoModel.from_config(config, trust_remote_code=False)


def image_configuration(network: nn.Module) -> dict[str, Any]:
    """What a checkpoint keeps of a vision model, to build it again without its source."""
    fields: dict[str, Any] = json.loads(network.config.to_json_string(use_diff=False))  # type: ignore[union-attr, operator]
    return fields


def fetch_weight_file(name: str) -> Path:
    """The weights of a model on the hub, such as `timm/resnet50.a1_in1k`.

    Raises:
        UsageError: there is no network, no such model, or it has no weights in one file.
    """
    for file in WEIGHT_FILES:
        try:
            with _quietly():
                return Path(hf_hub_download(name, file))
        except RemoteEntryNotFoundError:
            continue
        except (OSError, ValueError, HfHubHTTPError) as error:
            raise UsageError(
                f"image.weights: {name!r} is neither a file or folder nor to be had from the hub "
                f"({_first_line(error)}); download {file} where there is a network and give that file"
            ) from error
    raise UsageError(f"image.weights: {name} has none of {', '.join(WEIGHT_FILES)} on the hub")


def stated_normalisation(name: str) -> tuple[float, float] | None:
    """Mean and standard deviation that a model's folder or hub page states, averaged over colours.

    As `preprocessor_config.json` has them, or timm's `config.json`; None where nothing is stated.
    """
    for file, path in ((PREPROCESSING, ("image_mean", "image_std")), (CONFIG, ("mean", "std"))):
        fields = _read_stated(name, file)
        stated = [fields.get("pretrained_cfg", fields).get(key) for key in path]
        if all(isinstance(value, list) and value for value in stated):
            mean, std = (float(sum(value) / len(value)) for value in stated)
            return mean, std
    return None


def _read_stated(name: str, file: str) -> dict[str, Any]:
    """A JSON file of a folder or of the hub; empty where there is none, for it may be left out."""
    path = Path(name) / file
    try:
        if not Path(name).exists():
            with _quietly():
                path = Path(hf_hub_download(name, file))
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, HfHubHTTPError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _image_configuration(name: str, layer: str) -> Any:
    try:
        with _quietly():
            config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unavailable("image.encoder", name, error) from error
    config = getattr(config, "vision_config", config)  # of models of images and texts, such as CLIP
    if not hasattr(config, "num_channels"):
        raise UsageError(f"image.encoder: {name} ({config.model_type}) is no model of images")
    if hasattr(config, "vision_use_head"):
        config.vision_use_head = False  # SigLIP's pooling, which is of no use here
    return _cut(config, layer, name) if layer else config


def _cut(config: Any, layer: str, name: str) -> Any:
    """The configuration of the model up to a block or stage."""
    stages = getattr(config, "depths", None)
    total = len(stages) if stages else int(getattr(config, "num_hidden_layers", 0))
    if not layer.isdecimal() or int(layer) >= total:
        what = f"its {'stages' if stages else 'blocks'}: 0 to {total - 1}" if total else "it cannot be cut"
        raise UsageError(f"image encoder {name} has no layer {layer!r}; {what}")
    kept = int(layer) + 1
    fields = {key: value for key, value in config.to_dict().items() if key not in FROM_DEPTH}
    if not stages:
        return type(config)(**{**fields, "num_hidden_layers": kept})
    for key, value in fields.items():
        if isinstance(value, list) and len(value) == total:  # depths, hidden_sizes, num_heads
            fields[key] = value[:kept]
    return type(config)(**fields | ({"num_stages": kept} if "num_stages" in fields else {}))


def _is_of_pooler(key: str) -> bool:
    return "pooler" in key.split(".")


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the loaders' own account of what they tried and loaded: ours is strict."""
    verbosity, of_hub = logging.get_verbosity(), hub_logging.get_verbosity()
    shows_bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(of_hub)
        if shows_bars:
            logging.enable_progress_bar()


def _unavailable(key: str, name: str, error: Exception) -> UsageError:
    return UsageError(
        f"{key}: {name!r} is neither a folder with a model nor to be had from the hub "
        f"({_first_line(error)}); download it where there is a network and give its folder, or use `small`"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
