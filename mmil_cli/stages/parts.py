"""What a score can be made of: every registered part with its equation, source and arguments."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmil_cli.config.presets import PRESETS, Preset
from mmil_cli.core.aggregators import AGGREGATORS
from mmil_cli.core.build_score import arguments_of
from mmil_cli.core.critics import CRITICS
from mmil_cli.core.losses import OBJECTIVES
from mmil_cli.core.sentences import SENTENCE_AGGREGATORS
from mmil_cli.errors import UsageError, nearest


@dataclass(frozen=True, kw_only=True)
class Part:
    """One registered part.

    Attributes:
        name: as it is written in a recipe.
        equation: what it computes.
        source: where it is from; `[ours]` marks what is not in the paper.
        arguments: `name=default` each.
        kind: local or global for aggregators, else empty.
        about: its full description.
    """

    name: str
    equation: str
    source: str
    arguments: tuple[str, ...]
    kind: str
    about: str


@dataclass(frozen=True, kw_only=True)
class PartGroup:
    """The parts of one registry.

    Attributes:
        title: what they are, and which key of a recipe takes them.
        parts: in the registry's order.
    """

    title: str
    parts: tuple[Part, ...]


def list_parts() -> tuple[PartGroup, ...]:
    """All registries, in the order in which a score is put together."""
    return (
        _group("region aggregators: score.expression, joined by +", AGGREGATORS),
        _group("critics: score.critic", CRITICS),
        _group("sentence aggregators: score.sentences", SENTENCE_AGGREGATORS),
        _group("objectives: score.objective, or term:objective", OBJECTIVES),
        PartGroup(title="presets: --score NAME", parts=tuple(_preset(*item) for item in PRESETS.items())),
    )


def find_parts(name: str) -> tuple[Part, ...]:
    """The parts of that name, of whatever registry.

    Raises:
        UsageError: there is none.
    """
    known = [part for group in list_parts() for part in group.parts]
    found = tuple(part for part in known if part.name == name)
    if not found:
        names = sorted({part.name for part in known})
        raise UsageError(f"nothing is called {name!r}{nearest(name, names)}; known: {', '.join(names)}")
    return found


def _group(title: str, registry: Mapping[str, Any]) -> PartGroup:
    return PartGroup(title=title, parts=tuple(_part(name, kind) for name, kind in registry.items()))


def _part(name: str, kind: Any) -> Part:
    return Part(
        name=name,
        equation=kind.equation,
        source=kind.source,
        arguments=tuple(_argument(*item) for item in arguments_of(kind).items()),
        kind=str(getattr(kind, "level", "")),
        about=inspect.getdoc(kind) or "",
    )


def _argument(name: str, parameter: inspect.Parameter) -> str:
    value = parameter.default
    return f"{name}={value:g}" if isinstance(value, int | float) else f"{name}={value}"


def _preset(name: str, preset: Preset) -> Part:
    keys = [
        f"{section}.{key}={value}" for section, tree in preset.tree.items() for key, value in tree.items()
    ]
    return Part(
        name=name,
        equation=preset.tree["score"]["expression"],
        source=preset.source,
        arguments=tuple(keys),
        kind="",
        about=f"{preset.method[0].upper()}{preset.method[1:]}.",
    )
