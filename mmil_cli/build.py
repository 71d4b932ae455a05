"""From a recipe to objects: the one place that knows both sides."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmil_cli.checkpoint import Card, Checkpoint, load_weights, open_checkpoint
from mmil_cli.config.load import check, read_tree
from mmil_cli.config.recipe import ImageSection, Recipe, TextSection
from mmil_cli.core.build_score import build_score
from mmil_cli.core.encoders.hugging_face_image import HuggingFaceImage
from mmil_cli.core.encoders.small_resnet import SmallResNet
from mmil_cli.core.encoders.text import HuggingFaceText, SmallTransformer, TextPool
from mmil_cli.core.encoders.torchvision_backbone import TorchvisionBackbone, refuse_unknown
from mmil_cli.core.encoders.torchvision_vit import TorchvisionTransformer
from mmil_cli.core.model import DualEncoder
from mmil_cli.core.projection import Projection
from mmil_cli.data.tokenizer import SentenceTokenizer, learn_wordpiece, read_tokenizer, read_vocabulary
from mmil_cli.errors import CheckpointError, UsageError
from mmil_cli.inference import Embedder, ImageContract
from mmil_cli.runtime import pick_device
from mmil_cli.weights import is_hub_name, origin_normalisation

SMALL = "small"
ImageEncoder = SmallResNet | TorchvisionBackbone | TorchvisionTransformer | HuggingFaceImage


@dataclass(frozen=True, kw_only=True)
class LoadedCheckpoint:
    """A checkpoint ready for use.

    Attributes:
        embedder: runs the model.
        recipe: it was trained with.
        checkpoint: folder and card.
    """

    embedder: Embedder
    recipe: Recipe
    checkpoint: Checkpoint


def load_checkpoint(path: Path, *, device: str = "auto") -> LoadedCheckpoint:
    """The model of a checkpoint or run folder, every tensor loaded, on a device.

    Raises:
        CheckpointError: the folder is incomplete or a tensor does not fit.
    """
    checkpoint = open_checkpoint(path)
    path = checkpoint.folder / "recipe.yaml"
    try:
        recipe = check(read_tree(path), where=str(path))
        tokenizer = SentenceTokenizer(read_tokenizer(checkpoint.tokenizer), max_tokens=recipe.text.max_tokens)
        model = build_model(
            recipe,
            vocabulary_size=tokenizer.vocabulary_size,
            text_folder=checkpoint.tokenizer,
            image_network=checkpoint.card.image_network,
        )
    except UsageError as error:  # nobody asked for this recipe: it came with the folder
        raise CheckpointError(f"{path} cannot be used; copy or make the checkpoint again: {error}") from error
    load_weights(model, checkpoint)
    target = pick_device(device)
    contract = contract_of_card(checkpoint.card)
    embedder = Embedder(model.to(target), tokenizer, contract, target, unit=recipe.text.unit)
    return LoadedCheckpoint(embedder=embedder, recipe=recipe, checkpoint=checkpoint)


def random_twin(checkpoint: Checkpoint, embedder: Embedder, *, seed: int) -> Embedder:
    """The same model with fresh random weights, everything else alike: what an architecture does untrained.

    Args:
        checkpoint: whose recipe is taken.
        embedder: of that checkpoint.
        seed: of the weights; torch's own random state is left as it was.
    """
    recipe = check(read_tree(checkpoint.folder / "recipe.yaml"), where=str(checkpoint.folder))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size = embedder.tokenizer.vocabulary_size
        model = build_model(
            recipe,
            vocabulary_size=size,
            text_folder=checkpoint.tokenizer,
            image_network=checkpoint.card.image_network,
        )
    return Embedder(
        model.to(embedder.device), embedder.tokenizer, embedder.contract, embedder.device, unit=embedder.unit
    )


def image_contract(image: ImageSection, *, stored_side: int) -> ImageContract:
    """How films are prepared for the model of a recipe; what it leaves open is as for its weights' origin."""
    mean, std = image.mean, image.std
    if mean is None or std is None:
        of_origin = origin_normalisation(name=image.encoder, source=image.weights)
        mean = of_origin[0] if mean is None else mean
        std = of_origin[1] if std is None else std
    return ImageContract(stored_side=stored_side, size=image.size, fit=image.fit, mean=mean, std=std)


def contract_of_card(card: Card) -> ImageContract:
    """How films were prepared for the model of a checkpoint.

    Raises:
        CheckpointError: the card does not say.
    """
    try:
        return ImageContract(**card.image)
    except TypeError as error:
        raise CheckpointError(
            f"the card of the checkpoint does not say how films were prepared ({error}); pretrain again"
        ) from error


def build_tokenizer(text: TextSection, sentences: Iterable[str]) -> SentenceTokenizer:
    """The tokenizer of the text tower: its own, a given vocabulary, or one learned from the sentences."""
    if text.encoder != SMALL:
        from mmil_cli.hub import fetch_tokenizer

        return SentenceTokenizer(fetch_tokenizer(text.encoder), max_tokens=text.max_tokens)
    if text.vocabulary:
        return SentenceTokenizer(read_vocabulary(Path(text.vocabulary)), max_tokens=text.max_tokens)
    learned = learn_wordpiece(sentences, vocabulary_size=text.vocabulary_size)
    return SentenceTokenizer(learned, max_tokens=text.max_tokens)


def build_model(
    recipe: Recipe,
    *,
    vocabulary_size: int,
    text_folder: Path | None = None,
    image_network: Mapping[str, Any] | None = None,
) -> DualEncoder:
    """Both towers, their projections and the score, freshly initialised from torch's random state.

    Args:
        recipe: of the run.
        vocabulary_size: of the tokenizer.
        text_folder: where a checkpoint keeps the configuration of a Hugging Face text tower; without it
            the tower comes with its weights from the recipe's name or folder.
        image_network: configuration of a Hugging Face image tower that a checkpoint keeps; without it that of
            the recipe's name or folder.
    """
    image_encoder = build_image_encoder(recipe.image, network=image_network)
    text_encoder = build_text_encoder(recipe.text, vocabulary_size=vocabulary_size, folder=text_folder)
    dim, hidden = recipe.projection.dim, recipe.projection.hidden_dim
    score = build_score(dim=dim, **recipe.score.model_dump(exclude={"same_group"}))
    return DualEncoder(
        image_encoder=image_encoder,
        image_projection=Projection(image_encoder.output_channels, dim, hidden_dim=hidden),
        text_encoder=text_encoder,
        text_projection=Projection(text_encoder.output_channels, dim, hidden_dim=hidden),
        score=score,
        text_pool=TextPool(recipe.text.pool),
        word_projection=Projection(text_encoder.output_channels, dim, hidden_dim=hidden)
        if score.reads_words
        else None,
    )


def build_image_encoder(image: ImageSection, *, network: Mapping[str, Any] | None = None) -> ImageEncoder:
    """The image tower of a recipe, without weights.

    Args:
        image: its section.
        network: configuration of a Hugging Face model, where a checkpoint keeps it.

    Raises:
        UsageError: no such encoder or layer, or films of another size are needed.
    """
    if image.encoder == SMALL:
        if image.layer:
            raise UsageError("image.layer cuts a torchvision network; image.encoder=small has none to cut")
        return SmallResNet(widths=image.widths, blocks=image.blocks)
    is_of_hub = network is not None or is_hugging_face(image.encoder)
    encoder = _hugging_face_image(image, network) if is_of_hub else _torchvision(image)
    if image.size % encoder.patch:
        raise UsageError(
            f"image.size is {image.size}, no multiple of the side of a patch of {image.encoder}, "
            f"{encoder.patch}"
        )
    return encoder


def is_hugging_face(name: str) -> bool:
    """Whether the name of an image encoder is that of a Hugging Face model: a folder, or OWNER/NAME."""
    from torchvision.models import list_models

    return name not in list_models() and (Path(name).is_dir() or is_hub_name(name))


def _torchvision(image: ImageSection) -> TorchvisionBackbone | TorchvisionTransformer:
    refuse_unknown(image.encoder)
    if image.encoder.startswith("vit"):
        return TorchvisionTransformer(image.encoder, layer=image.layer)
    return TorchvisionBackbone(image.encoder, layer=image.layer, side=image.size)


def _hugging_face_image(image: ImageSection, configuration: Mapping[str, Any] | None) -> HuggingFaceImage:
    from mmil_cli import hub

    network = (
        hub.image_network(image.encoder, layer=image.layer)
        if configuration is None
        else hub.image_network_from_configuration(configuration)
    )
    return HuggingFaceImage(network, name=image.encoder, side=image.size)


def build_text_encoder(
    text: TextSection, *, vocabulary_size: int, folder: Path | None
) -> SmallTransformer | HuggingFaceText:
    """The text tower of a recipe."""
    if text.encoder != SMALL:
        from mmil_cli.hub import fetch_text_network, text_network_from_configuration

        network = (
            fetch_text_network(text.encoder) if folder is None else text_network_from_configuration(folder)
        )
        return HuggingFaceText(network)
    if text.width % text.heads:
        raise UsageError(f"text.width ({text.width}) must be a multiple of text.heads ({text.heads})")
    return SmallTransformer(
        vocabulary_size=vocabulary_size,
        width=text.width,
        num_layers=text.layers,
        num_heads=text.heads,
        max_tokens=text.max_tokens,
        dropout=text.dropout,
    )
