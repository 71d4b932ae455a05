"""Cells that hold the sum of local mutual information against the global one, on Gaussian studies.

Settings: `studies` (one of `phantom.information.STUDIES`), `objective` (dv, infonce), `local_steps` and
`global_steps` of critics, `reads` of fresh batches. The studies' true information is known in closed form.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mmil_cli.errors import UsageError, nearest
from mmil_cli.phantom.information import STUDIES
from mmil_cli.stages.bench_mi_studies import StudyEstimator, estimate_studies, truth_of
from mmil_cli.stages.mi_critic import Estimator
from mmil_cli.stages.study.figures import Figure
from mmil_cli.stages.study.kinds import CellPlace, Metric, Settings, StudyData
from mmil_cli.stages.study.settings import settings_of

METRICS = {
    "sums/gap": Metric(title="global - sum of local, estimated, nats"),
    "sums/true_gap": Metric(title="global - sum of local, true, nats"),
    "sums/global": Metric(title="global, estimated, nats"),
    "sums/local": Metric(title="sum of local, estimated, nats"),
}
SECONDS_A_STEP = 0.0015


class Sums(BaseModel):
    """What there is to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    studies: str
    objective: Literal["dv", "infonce"] = "dv"
    local_steps: int = Field(150, ge=1)
    global_steps: int = Field(600, ge=1)
    reads: int = Field(40, ge=1)


def check(settings: Settings, *, offers: frozenset[str] | None) -> None:  # noqa: ARG001
    """Refuses what is unknown."""
    wanted = _read(settings)
    if wanted.studies not in STUDIES:
        raise UsageError(
            f"studies: there are no {wanted.studies!r}{nearest(wanted.studies, STUDIES)}; there are "
            f"{', '.join(STUDIES)}"
        )


def metrics(settings: Settings, *, offers: frozenset[str] | None) -> dict[str, Metric]:  # noqa: ARG001
    """Both sides, and what lies between them."""
    return METRICS


def needs(settings: Settings) -> tuple[str, ...]:  # noqa: ARG001
    """Nothing."""
    return ()


def work(settings: Settings, *, data: StudyData | None) -> float:  # noqa: ARG001
    """Steps of all critics."""
    wanted = _read(settings)
    source = STUDIES[wanted.studies]
    return source.num_regions * source.num_sentences * wanted.local_steps + wanted.global_steps


def seconds(settings: Settings, place: CellPlace) -> float:
    """Steps take about the same everywhere."""
    return work(settings, data=place.data) * SECONDS_A_STEP


def commands(settings: Settings, place: CellPlace) -> tuple[str, ...]:  # noqa: ARG001
    """All studies and objectives at once."""
    return (f"mmil bench mi --seed {place.seed}",)


def run(settings: Settings, place: CellPlace) -> Iterator[Figure]:
    """Trains a critic for each region and sentence, and one for all."""
    wanted = _read(settings)
    source = {wanted.studies: STUDIES[wanted.studies]}
    estimator = StudyEstimator(
        local=Estimator(objective=wanted.objective, steps=wanted.local_steps, reads=wanted.reads),
        whole=Estimator(objective=wanted.objective, steps=wanted.global_steps, reads=wanted.reads),
    )
    (row,) = estimate_studies(
        source,
        estimators={wanted.objective: estimator},
        num_seeds=1,
        seed=place.seed,
        on_critic=_uncounted,
    )
    yield Figure(metric="sums/gap", value=row.gap.value)
    yield Figure(metric="sums/true_gap", value=truth_of(STUDIES[wanted.studies]).gap)
    yield Figure(metric="sums/global", value=row.global_information.value)
    yield Figure(metric="sums/local", value=row.sum_of_local.value)


def _uncounted() -> None:
    """A critic takes too short a time to tell of."""


def _read(settings: Settings) -> Sums:
    return settings_of(Sums, settings, what="cells of sums")
