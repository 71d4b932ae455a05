"""Reading recipes: YAML file, then overrides, then one check that reports every problem together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mmil_cli.config.contradictions import contradictions
from mmil_cli.config.presets import PRESETS
from mmil_cli.config.recipe import Recipe
from mmil_cli.config.shipped import find_shipped, shipped_files
from mmil_cli.errors import UsageError, nearest

Tree = dict[str, Any]


def load_recipe(
    source: str | Path | None, *, score: str | None = None, overrides: Sequence[str] = ()
) -> Recipe:
    """The recipe of a file or of a shipped name, then a score, then `section.key=value` overrides in order.

    Args:
        source: a YAML file, the name of a shipped recipe, or None for the defaults.
        score: an expression, or a preset, whose keys replace those of the file.
        overrides: such as `optim.lr=3e-4`; the value is read as YAML.

    Raises:
        UsageError: naming every problem of the recipe at once.
    """
    path = None if source is None else find_recipe(source)
    tree = with_preset({} if path is None else read_tree(path))
    if score is not None:
        tree = _merged(tree, PRESETS[score].tree if score in PRESETS else {"score": {"expression": score}})
    for override in overrides:
        apply_override(tree, override)
    return check(tree, where=str(path or "the recipe"))


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with mmil, by name."""
    return shipped_files()


def find_recipe(source: str | Path) -> Path:
    """The file of a recipe given as a path or as a shipped name."""
    path, shipped = find_shipped(source)
    if path is None:
        known = ", ".join(shipped)
        raise UsageError(
            f"no recipe {str(source)!r}{nearest(str(source), shipped)}; give a YAML file or: {known}"
        )
    return path


def read_tree(path: Path) -> Tree:
    """A YAML file as nested dictionaries."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UsageError(f"{path} must hold sections such as `optim:`, not a {type(tree).__name__}")
    return tree


def with_preset(tree: Tree) -> Tree:
    """A recipe that names a preset as its expression, with the preset's keys; its own keys win."""
    score = tree.get("score")
    name = score.get("expression") if isinstance(score, dict) else None
    if not isinstance(name, str) or name not in PRESETS:
        return tree
    own = {key: value for key, value in score.items() if key != "expression"}  # type: ignore[union-attr]
    return _merged(PRESETS[name].tree, {**tree, "score": own})


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Tree:
    """Sections of two trees, key by key; those above win."""
    merged = dict(below)
    for section, keys in above.items():
        under = merged.get(section)
        merged[section] = {**under, **keys} if isinstance(under, dict) and isinstance(keys, dict) else keys
    return merged


def apply_override(tree: Tree, override: str) -> None:
    """Sets one `section.key=value` in the tree; the value is typed as YAML types it."""
    name, sign, value = override.partition("=")
    keys = name.strip().split(".")
    if not sign or not all(keys) or len(keys) != 2:
        raise UsageError(f"--set takes section.key=value, such as optim.lr=3e-4, not {override!r}")
    section = tree.setdefault(keys[0], {})
    if not isinstance(section, dict):
        raise UsageError(f"--set {override}: {keys[0]} is no section of the recipe")
    try:
        # A shell strips the quotes of image.layer=''; null is written out.
        section[keys[1]] = _number(yaml.safe_load(value)) if value.strip() else ""
    except yaml.YAMLError as error:
        raise UsageError(f"--set {override}: the value is not YAML") from error
    if name.strip() == "score.expression" and str(section[keys[1]]) in PRESETS:
        _refuse_preset(section[keys[1]])


def _refuse_preset(name: str) -> None:
    """A preset that sets other keys too must come before --set, not by it."""
    if PRESETS[name].tree != {"score": {"expression": name}}:
        raise UsageError(f"{name} is a preset of several keys; give it as --score {name}")


def check(tree: Mapping[str, Any], *, where: str) -> Recipe:
    """The tree as a Recipe.

    Raises:
        UsageError: listing every unknown key, with the nearest known one, every value that does not fit, and
            keys that contradict each other.
    """
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(item)}" for item in error.errors())
        raise UsageError(f"{where} does not fit the schema of a recipe:\n{problems}") from error
    found = contradictions(recipe)
    if found:
        raise UsageError(f"{where}: {'; '.join(found)}")
    return recipe


def dump(recipe: Recipe) -> str:
    """The fully resolved recipe as YAML, every key with its value."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _problem(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        return f"{name} = {item['input']!r}: {item['msg']}"
    known = _fields_at([str(part) for part in item["loc"][:-1]])
    return f"unknown key {name}{nearest(str(item['loc'][-1]), known)}; known: {', '.join(known)}"


def _fields_at(path: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in path:
        annotation = model.model_fields[part].annotation
        assert isinstance(annotation, type)
        model = annotation
    return list(model.model_fields)


def _number(value: Any) -> Any:
    """YAML 1.1 reads 3e-4 as text; people who type it mean the number."""
    if not isinstance(value, str) or value.isdecimal():  # '8', in quotes, is a name
        return value
    try:
        return float(value)
    except ValueError:
        return value
