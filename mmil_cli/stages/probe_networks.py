"""The networks that a probe trains on labels, and the encoder as it was before pretraining."""

import copy
import functools
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from mmil_cli.build import build_image_encoder
from mmil_cli.config.recipe import Recipe
from mmil_cli.core.heads import AttentionHead, FilmClassifier, layer_names
from mmil_cli.data.transforms import Augment
from mmil_cli.errors import UsageError, listing, nearest
from mmil_cli.inference import Embedder
from mmil_cli.stages.evaluation import Evaluation
from mmil_cli.stages.label_training import Tuning
from mmil_cli.stages.policies import Method
from mmil_cli.stages.probe_inputs import FilmInputs, RegionInputs
from mmil_cli.stages.probe_readers import NetworkReader
from mmil_cli.stages.probe_task import ProbeTask
from mmil_cli.weights import load_image_weights

HEAD_RATES = (1e-2, 1e-3)
FILM_RATES = (1e-3, 1e-4)
FILM_HEAD_RATE = 1e-2


def initial_encoder(recipe: Recipe) -> nn.Module:
    """The image encoder that a run of this recipe starts from: its random weights, or those it names.

    Building a model draws the weights of the image encoder first, from the seed of the run.

    Raises:
        UsageError: the weights that the recipe names are no longer there.
    """
    torch.manual_seed(recipe.run.seed)
    encoder = build_image_encoder(recipe.image)
    load_image_weights(encoder, name=recipe.image.encoder, source=recipe.image.weights)
    return encoder


def initial_evaluation(evaluation: Evaluation) -> Evaluation:
    """The same evaluation with the image encoder of before pretraining."""
    trained = evaluation.embedder
    model = copy.deepcopy(trained.model)
    model.image_encoder = initial_encoder(evaluation.recipe)
    embedder = Embedder(
        model.to(trained.device), trained.tokenizer, trained.contract, trained.device, unit=trained.unit
    )
    return replace(evaluation, embedder=embedder)


def attention_reader(
    evaluation: Evaluation, regions: tuple[RegionInputs, RegionInputs, RegionInputs], *, epochs: int
) -> NetworkReader:
    """Gated attention over frozen regions."""
    train, validate, scored = regions
    dim = train.features.shape[-1]
    tuning = Tuning(epochs=epochs, rates=HEAD_RATES, device=evaluation.embedder.device)
    make = functools.partial(AttentionHead, dim)
    return NetworkReader(make, train=train, validate=validate, scored=scored, tuning=tuning)


def film_reader(
    method: Method, evaluation: Evaluation, task: ProbeTask, *, epochs: int, from_layer: str
) -> NetworkReader:
    """The image encoder with a linear head: pretrained (`finetune`), or as it was before (`supervised`).

    Both have the same architecture, augmentation, budget of steps and choice of learning rates.

    Args:
        method: which of the two.
        evaluation: model and dataset.
        task: whose films it reads.
        epochs: passes over the labelled films, at most.
        from_layer: of `finetune`: the first layer that is trained; empty for all.

    Raises:
        UsageError: the encoder has no such layer.
    """
    recipe = evaluation.recipe
    # A flip turns the words of reports too, and labels may name a side.
    augment = Augment(**recipe.augment.model_dump(exclude={"flip"}))
    inputs = [
        FilmInputs(
            evaluation.dataset, rows, contract=evaluation.embedder.contract, augment=augment,
            workers=recipe.data.workers,
        )
        for rows in task.roles
    ]  # fmt: skip
    start: Callable[[], nn.Module] = (
        functools.partial(copy.deepcopy, evaluation.embedder.model.image_encoder)
        if method is Method.FINETUNE
        else functools.partial(initial_encoder, recipe)
    )
    frozen_below = from_layer if method is Method.FINETUNE else ""
    check_layer(evaluation.embedder.model.image_encoder, frozen_below)
    tuning = Tuning(
        epochs=epochs, rates=FILM_RATES, device=evaluation.embedder.device, head_rate=FILM_HEAD_RATE
    )
    make = functools.partial(_classifier, start, frozen_below=frozen_below)
    train, validate, scored = inputs
    return NetworkReader(make, train=train, validate=validate, scored=scored, tuning=tuning)


def check_layer(encoder: nn.Module, layer: str) -> None:
    """Refuse a layer that the encoder does not have.

    Raises:
        UsageError: naming those that it has.
    """
    known = layer_names(encoder)
    tops = list(dict.fromkeys([*known, *(name.partition(".")[0] for name in known)]))
    if layer and layer not in tops:
        raise UsageError(
            f"--from-layer: this encoder has no layer {layer!r}{nearest(layer, tops)}; it has: "
            f"{listing(tops, 30)}"
        )


def _classifier(start: Callable[[], nn.Module], num_outputs: int, *, frozen_below: str) -> nn.Module:
    """A classifier on an encoder; the weights of its head follow from the random state before the encoder."""
    state = torch.random.get_rng_state()
    encoder = start()
    torch.random.set_rng_state(state)
    return FilmClassifier(encoder, num_outputs, frozen_below=frozen_below)
