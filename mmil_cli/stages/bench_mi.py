"""Estimators of mutual information held against sources whose information is known in closed form."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from mmil_cli.core.losses import ESTIMATES
from mmil_cli.files import make_folder, write_json
from mmil_cli.phantom.information import STUDIES
from mmil_cli.runtime import commit, versions
from mmil_cli.stages.bench_mi_pairs import PairRow, estimate_pairs
from mmil_cli.stages.bench_mi_studies import StudyEstimator, StudyRow, estimate_studies
from mmil_cli.stages.mi_critic import Estimator

FILE_NAME = "bench_mi.json"

STUDY_OBJECTIVES = ("dv", "infonce")
"""The two of arXiv 2103.04537, which calls them MINE and CPC."""

READ_BATCHES = (64, 256)
"""Critics of pairs are trained on batches of 64 and read on both, which moves the ceiling of InfoNCE."""

OnProgress = Callable[[int, int], None]
"""Told how many critics are trained, of how many."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is done.

    Attributes:
        truths: mutual information of the correlated Gaussians, nats.
        num_seeds: trained critics of each estimate; intervals are over these.
        pair_steps: training steps of a critic on correlated Gaussians.
        local_steps: training steps of a critic of a region and a sentence.
        global_steps: training steps of a critic of whole images and reports.
        reads: fresh batches that a trained critic is read on.
        best_reads: fresh batches that the best critic is read on.
    """

    truths: tuple[float, ...]
    num_seeds: int
    pair_steps: int
    local_steps: int
    global_steps: int
    reads: int
    best_reads: int


FULL = Size(
    truths=(0.5, 1.0, 2.0, 4.0, 6.0),
    num_seeds=3,
    pair_steps=500,
    local_steps=150,
    global_steps=600,
    reads=40,
    best_reads=200,
)
QUICK = Size(
    truths=(1.0, 4.0), num_seeds=2, pair_steps=30, local_steps=5, global_steps=5, reads=3, best_reads=10
)


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """What the estimators made of the known sources.

    Attributes:
        pairs: correlated Gaussians, a row a size of batch, truth and objective.
        studies: the sum of local information beside the global one, a row a source and objective.
        size: how much was done.
        provenance: what the figures depend on.
        record: the JSON file that holds all of this.
    """

    pairs: tuple[PairRow, ...]
    studies: tuple[StudyRow, ...]
    size: Size
    provenance: Mapping[str, Any]
    record: Path


def run(
    out: Path, *, quick: bool = False, seed: int = 0, on_progress: OnProgress | None = None
) -> BenchResult:
    """Trains a critic for every estimator and source, and reads it beside the truth; on the CPU.

    Args:
        out: folder for `bench_mi.json`.
        quick: a run of seconds that shows that all of it works; its critics have learned little.
        seed: of everything random; with the same number of threads it gives the same figures.
        on_progress: told of trained critics.
    """
    make_folder(out)
    size = QUICK if quick else FULL
    on_critic = _counted(_num_critics(size), on_progress)
    pairs = estimate_pairs(
        [_of_pairs(objective, size) for objective in ESTIMATES],
        truths=size.truths,
        num_seeds=size.num_seeds,
        best_reads=size.best_reads,
        seed=seed,
        on_critic=on_critic,
    )
    studies = estimate_studies(
        STUDIES,
        estimators={objective: _of_studies(objective, size) for objective in STUDY_OBJECTIVES},
        num_seeds=size.num_seeds,
        seed=seed,
        on_critic=on_critic,
    )
    provenance = _provenance(quick=quick, seed=seed)
    result = BenchResult(
        pairs=pairs, studies=studies, size=size, provenance=provenance, record=out / FILE_NAME
    )
    write_json(result.record, _as_json(result))
    return result


def _of_pairs(objective: str, size: Size) -> Estimator:
    return Estimator(objective=objective, steps=size.pair_steps, reads=size.reads, read_batches=READ_BATCHES)


def _of_studies(objective: str, size: Size) -> StudyEstimator:
    return StudyEstimator(
        local=Estimator(objective=objective, steps=size.local_steps, reads=size.reads),
        whole=Estimator(objective=objective, steps=size.global_steps, reads=size.reads),
    )


def _num_critics(size: Size) -> int:
    of_pairs = len(ESTIMATES) * len(size.truths)
    of_studies = sum(source.num_regions * source.num_sentences + 1 for source in STUDIES.values())
    return size.num_seeds * (of_pairs + len(STUDY_OBJECTIVES) * of_studies)


def _counted(total: int, on_progress: OnProgress | None) -> Callable[[], None]:
    """What to call after each critic."""
    done = count(1)

    def one_more() -> None:
        number = next(done)
        if on_progress is not None:
            on_progress(number, total)

    return one_more


def _provenance(*, quick: bool, seed: int) -> dict[str, Any]:
    command = f"mmil bench mi{' --quick' if quick else ''} --seed {seed}"
    return {"command": command, "seed": seed, "versions": versions(), "commit": commit()}


def _as_json(result: BenchResult) -> dict[str, Any]:
    return {
        "provenance": result.provenance,
        "size": asdict(result.size),
        "unit": "nats",
        "pairs": [{**asdict(row), "bias": row.bias} for row in result.pairs],
        "studies": [asdict(row) for row in result.studies],
    }
