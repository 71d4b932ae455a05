"""From a score expression to a score: names looked up, arguments checked, faults pointed at."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from mmil_cli.core.aggregators import AGGREGATORS
from mmil_cli.core.critics import CRITICS
from mmil_cli.core.grammar import Call, TermSpec, Value, parse, parse_call, point_at
from mmil_cli.core.losses import OBJECTIVES
from mmil_cli.core.scales import Mode, ScaleLike, Setting, read_setting
from mmil_cli.core.scores import Score
from mmil_cli.core.sentences import SENTENCE_AGGREGATORS
from mmil_cli.core.terms import DEFAULT_TEMPERATURE, HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE, Term
from mmil_cli.errors import UsageError, nearest

Part = TypeVar("Part", bound=nn.Module)

OF_A_TERM = ("temperature", "weight")
"""Arguments that every term takes beside those of its aggregator."""


def build_score(
    expression: str,
    *,
    dim: int,
    critic: str = "cosine",
    sentences: str = "mean",
    objective: str = "infonce",
    temperature: ScaleLike = DEFAULT_TEMPERATURE,
    learn_temperature: bool = True,
) -> Score:
    """The score that an expression such as `lse(gamma=10)+nl` describes.

    Args:
        expression: terms, as `core.grammar` reads them.
        dim: D of the joint embedding.
        critic: such as `cosine` or `mlp(hidden=256)`.
        sentences: sentence aggregator, such as `mean` or `lse(gamma=3)`.
        objective: of every term that names none of its own.
        temperature: at the start, of every term that names none of its own.
        learn_temperature: whether a temperature given as a number is trained from there.

    Raises:
        UsageError: unknown names or arguments, pointing at the place in the expression.
    """
    terms: dict[str, Term] = {}
    for spec in parse(expression):
        call = spec.aggregator
        if call.name in terms:
            raise point_at(expression, call.position, f"the term {call.name!r} is given twice")
        terms[call.name] = _build_term(
            expression, spec, dim=dim, objective=objective, temperature=temperature, learn=learn_temperature
        )
    return Score(
        critic=build_part(critic, CRITICS, role="critic", dim=dim),
        terms=terms,
        sentence_aggregator=build_part(sentences, SENTENCE_AGGREGATORS, role="sentence aggregator", dim=dim),
    )


def build_part(expression: str, registry: Mapping[str, type[Part]], *, role: str, dim: int) -> Part:
    """One registered part with its arguments, such as `infonce(image_to_text=0.75)`."""
    return _build(expression, parse_call(expression), registry, role=role, dim=dim)


def arguments_of(kind: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """What a user may give to a part: its keywords, but for the dimension, which the recipe has."""
    parameters = inspect.signature(kind).parameters
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "dim"
    }


def _build_term(
    expression: str, spec: TermSpec, *, dim: int, objective: str, temperature: ScaleLike, learn: bool
) -> Term:
    call = spec.aggregator
    own = {name: value for name, value in call.arguments.items() if name in OF_A_TERM}
    rest = {name: value for name, value in call.arguments.items() if name not in OF_A_TERM}
    aggregator = _build(
        expression,
        Call(name=call.name, arguments=rest, position=call.position),
        AGGREGATORS,
        role="aggregator",
        dim=dim,
        also=OF_A_TERM,
    )
    trained_by = (
        _build(expression, spec.objective, OBJECTIVES, role="objective", dim=dim)
        if spec.objective
        else build_part(objective, OBJECTIVES, role="objective", dim=dim)
    )
    weight = own.get("weight", 1.0)
    if not isinstance(weight, float):
        raise point_at(expression, call.position, f"{call.name}: weight must be a number")
    try:
        setting = _temperature(own.get("temperature", temperature), learn=learn)
        return Term(aggregator, objective=trained_by, temperature=setting, weight=weight)
    except UsageError as error:
        raise point_at(expression, call.position, str(error)) from None


def _temperature(value: ScaleLike, *, learn: bool) -> Setting:
    """A temperature's setting; a plain number is where it starts if it is to be learned."""
    setting = read_setting(
        value, name="temperature", counted="reports", low=LOWEST_TEMPERATURE, high=HIGHEST_TEMPERATURE
    )
    if learn and setting.mode is Mode.FIXED:
        return Setting(
            mode=Mode.LEARNED, start=setting.start, low=LOWEST_TEMPERATURE, high=HIGHEST_TEMPERATURE
        )
    return setting


def _build(
    expression: str,
    call: Call,
    registry: Mapping[str, type[Part]],
    *,
    role: str,
    dim: int,
    also: tuple[str, ...] = (),
) -> Part:
    kind = registry.get(call.name)
    if kind is None:
        known = ", ".join(sorted(registry))
        raise point_at(
            expression,
            call.position,
            f"unknown {role} {call.name!r}{nearest(call.name, registry)}; known: {known}",
        )
    parameters = arguments_of(kind)
    for name, value in call.arguments.items():
        problem = _problem(call.name, name, value, parameters, also)
        if problem:
            raise point_at(expression, call.position, problem)
    options: dict[str, Any] = {
        name: int(value) if parameters[name].annotation is int and isinstance(value, float) else value
        for name, value in call.arguments.items()
    }
    if "dim" in inspect.signature(kind).parameters:
        options["dim"] = dim
    try:
        return kind(**options)
    except UsageError as error:
        raise point_at(expression, call.position, str(error)) from None


def _problem(
    part: str, name: str, value: Value, parameters: Mapping[str, inspect.Parameter], also: tuple[str, ...]
) -> str | None:
    """What is wrong with an argument, by its name and by the kind of its value."""
    if name not in parameters:
        known = (*parameters, *also)
        takes = ", ".join(known) or "none"
        return f"{part} has no argument {name!r}{nearest(name, known)}; it takes: {takes}"
    wanted = parameters[name].annotation
    if wanted is float and not isinstance(value, float):
        return f"{part}: {name} must be a number, not {_shown(value)}"
    if wanted is int and not (isinstance(value, float) and value.is_integer()):
        return f"{part}: {name} must be a whole number, not {_shown(value)}"
    if wanted is str and not isinstance(value, str):
        return f"{part}: {name} must be a word, not {_shown(value)}"
    return None


def _shown(value: Value) -> str:
    return (
        repr(value.name)
        if isinstance(value, Call)
        else repr(value)
        if isinstance(value, str)
        else f"{value:g}"
    )
