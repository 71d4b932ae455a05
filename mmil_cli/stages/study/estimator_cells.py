"""Cells of pairs whose mutual information is known: what an estimator and a critic make of them.

Objective and critic are set by the keys that a recipe has for them, so that one arm can be such a cell and
a model trained by the same objective and critic.
"""

import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mmil_cli.core.build_score import build_part
from mmil_cli.core.critics import CRITICS
from mmil_cli.core.losses import ESTIMATES
from mmil_cli.errors import UsageError, nearest
from mmil_cli.phantom.information import CorrelatedGaussians
from mmil_cli.stages.mi_critic import TRAIN_BATCH, Estimator, Sampler
from mmil_cli.stages.study.figures import Figure, mean_figure
from mmil_cli.stages.study.kinds import CellPlace, Metric, Settings, StudyData
from mmil_cli.stages.study.settings import settings_of
from mmil_cli.stages.study.tower_critic import EMBEDDING, TowerCritic

STEPS_TRIED = 20


class Estimation(BaseModel):
    """What there is to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: str = Field("infonce", alias="score.objective")
    critic: str = Field("mlp(hidden=64, second=16)", alias="score.critic")
    pairs: Literal["gaussian", "cubic"] = "gaussian"
    nats: tuple[Annotated[float, Field(gt=0, le=20)], ...] = Field((1.0, 2.0, 4.0), min_length=1)
    dim: int = Field(4, ge=1, le=64)
    steps: int = Field(500, ge=1)
    reads: int = Field(40, ge=2)


def check(settings: Settings, *, offers: frozenset[str] | None) -> None:
    """As `CellKind`."""
    del offers
    wanted = _read(settings)
    if wanted.objective not in ESTIMATES:
        raise UsageError(
            f"objective is {wanted.objective!r}, which estimates no information"
            f"{nearest(wanted.objective, ESTIMATES)}; those that do: {', '.join(ESTIMATES)}"
        )
    build_part(wanted.critic, CRITICS, role="critic", dim=EMBEDDING)


def metrics(settings: Settings, *, offers: frozenset[str] | None) -> dict[str, Metric]:
    """As `CellKind`."""
    del offers
    found = {
        "mi/error": Metric(title="error (RMSE), nats, mean", higher_is_better=False),
        "mi/bias": Metric(title="bias, nats, mean"),
        "mi/deviation": Metric(title="SD of a batch, nats, mean", higher_is_better=False),
    }
    for nats in _read(settings).nats:
        found |= {
            f"mi/{nats:g}/error": Metric(title=f"error at {nats:g} nats", higher_is_better=False),
            f"mi/{nats:g}/bias": Metric(title=f"bias at {nats:g} nats"),
            f"mi/{nats:g}/deviation": Metric(title=f"SD of a batch at {nats:g} nats", higher_is_better=False),
        }
    seconds = Metric(title="seconds of a critic", higher_is_better=False, is_time=True)
    return {**found, "mi/seconds": seconds}


def needs(settings: Settings) -> tuple[str, ...]:
    """As `CellKind`: nothing."""
    del settings
    return ()


def work(settings: Settings, *, data: StudyData | None) -> float:
    """As `CellKind`: steps of training."""
    del data
    wanted = _read(settings)
    return float(wanted.steps * len(wanted.nats))


def seconds(settings: Settings, place: CellPlace) -> float:
    """As `CellKind`."""
    wanted = _read(settings)
    few = wanted.model_copy(update={"steps": STEPS_TRIED, "nats": wanted.nats[:1]})
    list(_figures(few.model_copy(update={"steps": 1}), seed=place.seed))  # what is loaded but once
    start = time.perf_counter()
    list(_figures(few, seed=place.seed))
    return (time.perf_counter() - start) * wanted.steps / STEPS_TRIED * len(wanted.nats)


def commands(settings: Settings, place: CellPlace) -> tuple[str, ...]:
    """As `CellKind`: `mmil bench mi` estimates the same of its own critics."""
    del settings, place
    return ()


def run(settings: Settings, place: CellPlace) -> list[Figure]:
    """As `CellKind`."""
    return list(_figures(_read(settings), seed=place.seed))


def sampler(pairs: str, source: CorrelatedGaussians) -> Sampler:
    """Draws pairs: the Gaussians themselves, or the cube of each component of y.

    A cube can be undone, so the information is that of the Gaussians, but no product of x and y shows it
    (a test bed of Belghazi et al. 2018 and of Poole et al. 2019).
    """
    if pairs == "gaussian":
        return source.sample

    def cubed(generator: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = source.sample(generator, number)
        return x, y**3

    return cubed


def _read(settings: Settings) -> Estimation:
    return settings_of(Estimation, settings, what="estimators")


def _figures(wanted: Estimation, *, seed: int) -> Iterator[Figure]:
    estimator = Estimator(
        objective=wanted.objective,
        steps=wanted.steps,
        reads=wanted.reads,
        make_critic=partial(TowerCritic, critic=wanted.critic),
    )
    by_truth = []
    start = time.perf_counter()
    for nats in wanted.nats:
        source = CorrelatedGaussians.of_information(nats, dim=wanted.dim)
        found = estimator(sampler(wanted.pairs, source), seed=(seed,))[TRAIN_BATCH]
        by_truth.append(found - nats)
    spent = (time.perf_counter() - start) / len(wanted.nats)
    ids = np.array([f"{seed}-{number}" for number in range(wanted.reads)])
    for nats, off in zip(wanted.nats, by_truth, strict=True):
        yield from _of_truth(f"mi/{nats:g}", off, ids)
    yield mean_figure("mi/bias", np.mean(by_truth, axis=0), groups=ids)
    for name, measure in (("error", _error), ("deviation", _deviation)):
        values = [measure(off) for off in by_truth]
        yield Figure(metric=f"mi/{name}", value=float(np.mean(values)))
    yield Figure(metric="mi/seconds", value=spent)


def _of_truth(name: str, off: np.ndarray, ids: np.ndarray) -> Iterator[Figure]:
    """The figures of the estimates less the truth, of each fresh batch."""
    yield mean_figure(f"{name}/bias", off, groups=ids)
    yield Figure(metric=f"{name}/error", value=_error(off))
    yield Figure(metric=f"{name}/deviation", value=_deviation(off))


def _error(off: np.ndarray) -> float:
    """sqrt(bias^2 + variance) of the estimate of one batch."""
    return math.sqrt(float((off**2).mean()))


def _deviation(off: np.ndarray) -> float:
    return float(off.std(ddof=1))
