"""Hugging Face encoders and tokenizers by name or folder; imported only when a recipe asks for one."""

from pathlib import Path

from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from mmil_cli.errors import UsageError


def fetch_tokenizer(name: str) -> Tokenizer:
    """The fast tokenizer of an encoder.

    Raises:
        UsageError: the name is no folder and cannot be fetched, or the encoder has no fast tokenizer.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True)
    except (OSError, ValueError) as error:
        raise _unavailable(name, error) from error
    if not tokenizer.is_fast:
        raise UsageError(
            f"text.encoder: {name} has no fast tokenizer; save one as tokenizer.json in its folder"
        )
    return tokenizer.backend_tokenizer


def fetch_text_network(name: str) -> nn.Module:
    """A text encoder with its weights, from a folder or from the hub. Code of the repository is never run."""
    try:
        return AutoModel.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unavailable(name, error) from error


def text_network_from_configuration(folder: Path) -> nn.Module:
    """The same architecture without weights, from the configuration that a checkpoint keeps."""
    return AutoModel.from_config(AutoConfig.from_pretrained(folder), trust_remote_code=False)


def save_configuration(name: str, folder: Path) -> None:
    """Keeps the configuration of an encoder in a folder, to build it again without its weights."""
    AutoConfig.from_pretrained(name).save_pretrained(folder)


def _unavailable(name: str, error: Exception) -> UsageError:
    first_line = str(error).strip().split("\n")[0]
    return UsageError(
        f"text.encoder: {name!r} is neither a folder with a model nor to be had from the hub ({first_line}); "
        "download it where there is a network and give its folder, or use `small`"
    )
