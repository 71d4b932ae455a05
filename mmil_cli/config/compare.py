"""Whether two recipes make the same run, and what stands in the way."""

from collections.abc import Iterator
from typing import Any

import yaml

from mmil_cli.errors import listing

WITHOUT_EFFECT = (
    "data.workers", "run.log_every", "run.log_to", "run.save_every", "run.save_minutes"
)  # fmt: skip
"""Keys that change nothing of what a run comes to: another call may set them otherwise and go on."""


def deciding(recipe: str) -> str:
    """The text of a recipe without the keys that change no outcome; equal for recipes of the same run."""
    keys = {name: value for name, value in _flat(recipe) if name not in WITHOUT_EFFECT}
    return yaml.safe_dump(keys)


def differences(there: str, here: str) -> str:
    """A clause such as `optim.lr is 0.01 there and 0.001 here` of two texts of `deciding`."""
    old, new = (yaml.safe_load(text) for text in (there, here))
    if not isinstance(old, dict) or not isinstance(new, dict):
        return "no recipe is there"
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return listing([f"{name} is {old.get(name)} there and {new.get(name)} here" for name in names], most=3)


def _flat(recipe: str) -> Iterator[tuple[str, Any]]:
    for section, keys in yaml.safe_load(recipe).items():
        for key, value in keys.items():
            yield f"{section}.{key}", value
