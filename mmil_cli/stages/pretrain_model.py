"""The model a pretrain run begins with: its towers, what they start from, and what of them learns when."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmil_cli.build import build_model, image_contract
from mmil_cli.checkpoint import WEIGHTS, Checkpoint, load_strictly, open_checkpoint, read_tensors
from mmil_cli.config.recipe import OptimSection, Recipe
from mmil_cli.core.encoders.folded_norms import has_folded_norms, measure_norms
from mmil_cli.core.encoders.hugging_face_image import HuggingFaceImage
from mmil_cli.core.model import DualEncoder
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.tokenizer import SentenceTokenizer
from mmil_cli.errors import CheckpointError, UsageError
from mmil_cli.inference import Embedder, ImageContract
from mmil_cli.training.freezing import FrozenPart, frozen_part, tower_rates
from mmil_cli.training.optim import Optimiser, make_optimiser, matrices_of
from mmil_cli.weights import LoadedWeights, load_image_weights

FILMS_MEASURED = 256  # for batch norms that came without statistics
OF_SCORE = "score."


@dataclass(frozen=True, kw_only=True)
class NewModel:
    """A model before its first step.

    Attributes:
        model: both towers, projections and score.
        contract: how its films are prepared.
        weights: what the image tower started from, if anything.
        notes: what to tell of that.
        parent: dataset hash and step of the checkpoint it started from, if any.
        image_network: what the card keeps of a Hugging Face image tower.
    """

    model: DualEncoder
    contract: ImageContract
    weights: LoadedWeights | None
    notes: tuple[str, ...]
    parent: str | None
    image_network: dict[str, Any] | None


def open_start(recipe: Recipe) -> Checkpoint | None:
    """The checkpoint that a recipe starts from, if it names one."""
    return open_checkpoint(Path(recipe.run.start)) if recipe.run.start else None


def new_model(
    recipe: Recipe, dataset: StudyDataset, tokenizer: SentenceTokenizer, *, films: np.ndarray
) -> NewModel:
    """The model of a recipe from the seed, with the weights it starts from, on the CPU.

    Args:
        recipe: of the run.
        dataset: trained on.
        tokenizer: of the text tower.
        films: rows of the dataset; some of them measure batch norms that come without statistics.

    Raises:
        UsageError: the weights cannot be had.
        CheckpointError: they do not fit.
    """
    start = open_start(recipe)
    torch.manual_seed(recipe.run.seed)
    model = build_model(
        recipe,
        vocabulary_size=tokenizer.vocabulary_size,
        text_folder=start.tokenizer if start else None,
        image_network=start.card.image_network if start else None,
    )
    image = recipe.image
    source = image.model_copy(update={"weights": recipe.run.start}) if start else image
    contract = image_contract(source, stored_side=dataset.info.side)
    if start:
        note = _load_start(model, start)
        return _new(model, contract, notes=[note], parent=_name_of(start))
    weights = load_image_weights(
        model.image_encoder, name=image.encoder, source=image.weights, layer=image.layer
    )
    notes = [f"image encoder: {weights}"] if weights else []
    if notes and image.mean is None:
        notes.append(f"films are normalised with mean {contract.mean:.3g} and std {contract.std:.3g}")
    if weights:
        embedder = Embedder(model, tokenizer, contract, torch.device("cpu"), unit=recipe.text.unit)
        notes += _unfold_norms(embedder, dataset, films[:FILMS_MEASURED].tolist())
    return _new(model, contract, weights=weights, notes=notes)


def _new(
    model: DualEncoder,
    contract: ImageContract,
    *,
    notes: Sequence[str],
    weights: LoadedWeights | None = None,
    parent: str | None = None,
) -> NewModel:
    return NewModel(
        model=model.train(),
        contract=contract,
        weights=weights,
        notes=tuple(notes),
        parent=parent,
        image_network=_network_of(model.image_encoder),
    )


def _unfold_norms(embedder: Embedder, dataset: StudyDataset, films: Sequence[int]) -> list[str]:
    """Measures batch norms that came folded on some of the films; what was done, if anything."""
    encoder = embedder.model.image_encoder
    if not has_folded_norms(encoder):
        return []
    num_norms = measure_norms(encoder, lambda: embedder.dataset(dataset, films))
    return [
        f"the {num_norms} batch norms came without statistics (folded into the weights); "
        f"measured on {len(films)} films"
    ]


def frozen_parts(model: DualEncoder, recipe: Recipe, *, num_steps: int) -> tuple[FrozenPart, ...]:
    """What the recipe freezes of the towers."""
    towers = (
        (model.image_encoder, "image.freeze", recipe.image),
        (model.text_encoder, "text.freeze", recipe.text),
    )
    return tuple(
        frozen_part(encoder, key=key, freeze=section.freeze, thaw=section.thaw, num_steps=num_steps)
        for encoder, key, section in towers
    )


def optimiser_of(model: DualEncoder, optim: OptimSection) -> Optimiser:
    """The optimiser of all parameters, also of frozen ones; its first group has the rate `lr`."""
    towers = (model.image_encoder, model.text_encoder)
    of_towers = {id(parameter) for tower in towers for parameter in tower.parameters()}
    others = [parameter for parameter in model.parameters() if id(parameter) not in of_towers]
    rates = (optim.image_lr or optim.lr, optim.text_lr or optim.lr)
    groups = [
        group
        for tower, lr in zip(towers, rates, strict=True)
        for group in tower_rates(tower, lr=lr, layer_decay=optim.layer_decay)
    ]
    return make_optimiser(
        [(others, optim.lr), *groups],
        weight_decay=optim.weight_decay,
        by_muon=matrices_of(model) if optim.optimiser == "muon" else (),
    )


def _network_of(encoder: nn.Module) -> dict[str, Any] | None:
    """What the card keeps of a Hugging Face image tower."""
    if not isinstance(encoder, HuggingFaceImage):
        return None
    from mmil_cli.hub import image_configuration

    return image_configuration(encoder.body)


def _load_start(model: DualEncoder, start: Checkpoint) -> str:
    """Both towers and projections, every tensor; of the score what is the same there."""
    path = start.folder / WEIGHTS
    tensors, own = read_tensors(path), model.state_dict()
    score = {name: tensors.get(name, own[name]) for name in own if name.startswith(OF_SCORE)}
    score = {name: x if x.shape == own[name].shape else own[name] for name, x in score.items()}
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith(OF_SCORE)}
    try:
        load_strictly(model, {**others, **score}, where=str(path))
    except CheckpointError as error:
        raise UsageError(
            f"run.start: {error}; give the image, text and projection sections of "
            f"{start.folder / 'recipe.yaml'}"
        ) from error
    return f"both towers: {len(others)} tensors from {start.folder}, after step {start.card.step}"


def _name_of(start: Checkpoint) -> str:
    return f"{start.card.dataset_hash} at step {start.card.step}"
