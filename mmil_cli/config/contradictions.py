"""Keys of a recipe that say nothing, or the opposite, beside others: refused, not overlooked."""

from collections.abc import Iterator

from mmil_cli.config.recipe import Recipe

NOTHING = ("auto", "none")


def contradictions(recipe: Recipe) -> list[str]:
    """What is wrong with a recipe whose keys are right one by one; empty for nothing."""
    return [*_of_towers(recipe), *_of_start(recipe), *_of_films(recipe)]


def _of_towers(recipe: Recipe) -> Iterator[str]:
    optim = recipe.optim
    frozen = []
    for name, tower, rate in (("image", recipe.image, optim.image_lr), ("text", recipe.text, optim.text_lr)):
        if tower.thaw is not None and tower.freeze == "none":
            yield f"{name}.thaw is set, but {name}.freeze is none: nothing is frozen"
        if recipe.run.shard and tower.freeze != "none":
            yield f"run.shard shares out towers that learn whole; leave {name}.freeze at none, or run.shard"
        frozen.append(tower.freeze == "all" and tower.thaw is None)
        if frozen[-1] and rate is not None:
            yield f"optim.{name}_lr is set, but {name}.freeze is all: the tower never learns"
    if all(frozen) and optim.layer_decay != 1:
        yield "optim.layer_decay is set, but both towers are frozen for good"


def _of_start(recipe: Recipe) -> Iterator[str]:
    if recipe.run.start and recipe.image.weights not in NOTHING:
        yield "run.start and image.weights both say what the image tower starts from; give one of them"
    if recipe.run.start and recipe.text.vocabulary:
        yield "run.start brings the tokenizer of its text tower; leave text.vocabulary empty"


def _of_films(recipe: Recipe) -> Iterator[str]:
    if recipe.data.max_films is not None and recipe.data.films == "pairs":
        yield "data.max_films is set, but data.films is pairs: each film is a bag of its own"
