"""The checkpoint folder: written aside and renamed, loaded strictly, found without being told where."""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mmil_cli.errors import CheckpointError, UsageError, listing
from mmil_cli.files import recover_folder, replace_folder, write_json

WEIGHTS, RECIPE, CARD, TOKENIZER = "model.safetensors", "recipe.yaml", "card.json", "tokenizer"
ENVIRONMENT_VARIABLE = "MMIL_CHECKPOINT"
RUNS_FOLDER = "runs"


@dataclass(frozen=True, kw_only=True)
class Card:
    """Where a checkpoint comes from and what it expects.

    Attributes:
        stage: the command that made it.
        step: optimiser steps taken.
        seed: of the run.
        metrics: the last validation.
        dataset_hash: content hash of the dataset it was trained on.
        dataset_options: how that dataset was preprocessed; films are prepared the same way for use.
        label_names: findings that the dataset had labels for.
        image: the image contract: stored side, size, fit, mean, std.
        versions: of mmil and of what it rests on.
        commit: of the checkout that made it, if it was one.
        parent: dataset hash and step of the checkpoint it started from, if any.
        image_network: configuration of a Hugging Face image tower, to build it without its source; None for
            others.
        ended_at: steps of its whole run; None while that goes on.
    """

    stage: str
    step: int
    seed: int
    metrics: dict[str, float]
    dataset_hash: str
    dataset_options: dict[str, Any]
    label_names: tuple[str, ...]
    image: dict[str, Any]
    versions: dict[str, str]
    commit: str | None = None
    parent: str | None = None
    image_network: dict[str, Any] | None = None
    ended_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint folder that was found to be complete.

    Attributes:
        folder: where it lies.
        card: its card.
        recipe: text of its recipe, fully resolved.
        tokenizer: folder of its tokenizer.
    """

    folder: Path
    card: Card
    recipe: str
    tokenizer: Path


def save_checkpoint(
    folder: Path, *, weights: Mapping[str, Tensor], recipe: str, card: Card, tokenizer: Path
) -> None:
    """Writes the folder aside and renames it; an older checkpoint there stays valid until then.

    Args:
        folder: the checkpoint folder.
        weights: a state dict without shared tensors.
        recipe: YAML of the resolved recipe.
        card: its provenance.
        tokenizer: folder whose files are copied to `tokenizer/`.
    """

    def fill(partial: Path) -> None:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
        # Not `save_file`: it lets nobody but the owner read the file, and a full disk is no OSError to it.
        (partial / WEIGHTS).write_bytes(save(tensors))
        (partial / RECIPE).write_text(recipe, encoding="utf-8")
        write_json(partial / CARD, dataclasses.asdict(card))
        (partial / TOKENIZER).mkdir()
        for path in sorted(tokenizer.iterdir()):
            (partial / TOKENIZER / path.name).write_bytes(path.read_bytes())

    replace_folder(folder, fill)


def mark_ended(folder: Path, *, step: int) -> None:
    """Writes into a checkpoint's card that its run has ended, after so many steps."""
    write_json(
        folder / CARD, dataclasses.asdict(dataclasses.replace(_read_card(folder / CARD), ended_at=step))
    )


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a folder, or in the `checkpoint` folder of a run.

    Raises:
        CheckpointError: listing the files that are missing or unreadable.
    """
    recover_folder(path / "checkpoint")
    folder = path / "checkpoint" if (path / "checkpoint").is_dir() else path
    recover_folder(folder)
    missing = [name for name in (WEIGHTS, RECIPE, CARD, TOKENIZER) if not (folder / name).exists()]
    if missing:
        raise CheckpointError(
            f"{folder} is no complete checkpoint: {', '.join(missing)} missing; `mmil pretrain` makes one"
        )
    return Checkpoint(
        folder=folder,
        card=_read_card(folder / CARD),
        recipe=_read_recipe(folder / RECIPE),
        tokenizer=folder / TOKENIZER,
    )


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Loads every tensor into the model, or none.

    Raises:
        CheckpointError: naming missing, unexpected and mis-shaped tensors, and those that are not finite.
    """
    path = checkpoint.folder / WEIGHTS
    tensors = read_tensors(path)
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        raise CheckpointError(f"{path} holds numbers that are not finite, in {listing(bad)}; pretrain again")
    load_strictly(model, tensors, where=str(path))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or not safetensors ({error}); make or copy it again"
        ) from error


def load_strictly(model: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Loads a state dict whose names and shapes must be those of the model."""
    wanted = model.state_dict()
    problems = {
        "missing": sorted(wanted.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - wanted.keys()),
        "mis-shaped": [
            f"{name} {tuple(tensors[name].shape)} for {tuple(wanted[name].shape)}"
            for name in sorted(wanted.keys() & tensors.keys())
            if tensors[name].shape != wanted[name].shape
        ],
    }
    found = [f"{kind}: {listing(names)}" for kind, names in problems.items() if names]
    if found:
        raise CheckpointError(f"{where} does not fit the model; {'; '.join(found)}")
    model.load_state_dict(tensors, strict=True)


def find_checkpoint(given: Path | None) -> tuple[Path, str]:
    """The checkpoint to use and, in words, how it was found.

    The option wins, then the environment variable MMIL_CHECKPOINT, then the newest run under ./runs.

    Raises:
        UsageError: there is none.
    """
    if given is not None:
        return given, "as given"
    if os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(os.environ[ENVIRONMENT_VARIABLE]), f"from {ENVIRONMENT_VARIABLE}"
    cards = sorted(Path(RUNS_FOLDER).glob(f"*/checkpoint/{CARD}"), key=lambda path: path.stat().st_mtime)
    if not cards:
        raise UsageError(
            f"no checkpoint: give --checkpoint, set {ENVIRONMENT_VARIABLE}, "
            f"or make one under ./{RUNS_FOLDER} with `mmil pretrain`"
        )
    return cards[-1].parent, f"the newest under ./{RUNS_FOLDER}"


def _read_recipe(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is damaged: no UTF-8 text; copy the checkpoint again") from error


def _read_card(path: Path) -> Card:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields["label_names"] = tuple(fields["label_names"])
        int(fields["image"]["stored_side"])
        return Card(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} is no card of this version of mmil ({error}); pretrain again"
        ) from error
