"""Cells of generated bags: a score trained on them, beside the best there can be."""

import time
from dataclasses import fields, replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mmil_cli.core.build_score import build_score
from mmil_cli.phantom.bags import BagSource
from mmil_cli.stages.study.bag_figures import BAG_METRICS, PROPERTY_METRICS, Plan, figures
from mmil_cli.stages.study.bag_scorer import Training, train_scorer
from mmil_cli.stages.study.figures import Figure
from mmil_cli.stages.study.kinds import CellPlace, Metric, Settings, StudyData
from mmil_cli.stages.study.settings import settings_of

STEPS_TRIED = 20
Number = Annotated[int, Field(ge=1)]


class BagSettings(BaseModel):
    """What there is to set; ranges of the bags are those of `BagSource`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score: str = "lse"
    critic: str = "cosine"
    phrase: Literal["known", "learned"] = "known"
    bags: Number = 1000
    steps: Number = 300
    test_bags: Annotated[int, Field(ge=10)] = 500
    grid: int = BagSource.grid
    dim: int = BagSource.dim
    side: int = BagSource.side
    number: int = BagSource.number
    signal: float = BagSource.signal
    together: float = BagSource.together
    distractors: float = BagSource.distractors
    label_noise: float = BagSource.label_noise


def check(settings: Settings, *, offers: frozenset[str] | None) -> None:
    """As `CellKind`."""
    del offers
    plan = _plan(settings)
    if not plan.is_best:
        build_score(plan.training.expression, dim=plan.source.dim, critic=plan.training.critic)


def metrics(settings: Settings, *, offers: frozenset[str] | None) -> dict[str, Metric]:
    """As `CellKind`."""
    del offers
    return BAG_METRICS if _plan(settings).is_best else {**BAG_METRICS, **PROPERTY_METRICS}


def needs(settings: Settings) -> tuple[str, ...]:
    """As `CellKind`: nothing."""
    del settings
    return ()


def work(settings: Settings, *, data: StudyData | None) -> float:
    """As `CellKind`: numbers that pass through training."""
    del data
    plan = _plan(settings)
    steps = 1 if plan.is_best else plan.training.steps
    return float(steps * plan.source.num_regions * plan.source.dim)


def seconds(settings: Settings, place: CellPlace) -> float:
    """As `CellKind`."""
    plan = _plan(settings)
    if not plan.is_best:
        _training_seconds(_shortened(plan, 1), place.seed)  # what is loaded but once
    start = time.perf_counter()
    list(figures(_shortened(plan, 1), seed=place.seed))
    fixed = time.perf_counter() - start
    if plan.is_best:
        return fixed
    one, several = (_training_seconds(_shortened(plan, steps), place.seed) for steps in (1, STEPS_TRIED + 1))
    return fixed + max(0.0, several - one) * plan.training.steps / STEPS_TRIED


def commands(settings: Settings, place: CellPlace) -> tuple[str, ...]:
    """As `CellKind`: there is no other command."""
    del settings, place
    return ()


def run(settings: Settings, place: CellPlace) -> list[Figure]:
    """As `CellKind`."""
    return list(figures(_plan(settings), seed=place.seed))


def _plan(settings: Settings) -> Plan:
    wanted = settings_of(BagSettings, settings, what="generated bags")
    return Plan(
        source=BagSource(**{field.name: getattr(wanted, field.name) for field in fields(BagSource)}),
        training=Training(
            expression=wanted.score,
            critic=wanted.critic,
            phrase=wanted.phrase,
            bags=wanted.bags,
            steps=wanted.steps,
        ),
        test_bags=wanted.test_bags,
    )


def _shortened(plan: Plan, steps: int) -> Plan:
    return replace(plan, training=replace(plan.training, steps=steps))


def _training_seconds(plan: Plan, seed: int) -> float:
    start = time.perf_counter()
    train_scorer(plan.training, plan.source, seed=seed)
    return time.perf_counter() - start
