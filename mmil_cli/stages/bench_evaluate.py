"""Time of the evaluations on inputs of a size that archives have, against what is wanted."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_info

from mmil_cli.files import make_folder, write_json
from mmil_cli.runtime import commit, processor, versions
from mmil_cli.stages.bench_ground import one_more_phrase
from mmil_cli.stages.bench_retrieve import ranks_of_pairs
from mmil_cli.stages.label_curve import Draws, label_points
from mmil_cli.stages.label_sets import Budget
from mmil_cli.stages.measurement import Measurement
from mmil_cli.stages.policies import Method
from mmil_cli.stages.probe_readers import LinearReader, Parts
from mmil_cli.stages.probe_scores import score_method
from mmil_cli.stages.probe_task import ProbeTask

FILE_NAME = "bench_evaluate.json"

OnProgress = Callable[[int, int], None]
"""Told how many measurements are done, of how many."""


@dataclass(frozen=True, kw_only=True)
class EvaluateBench:
    """All measurements.

    Attributes:
        rows: in the order they were made.
        provenance: what the figures depend on.
        record: the JSON file that holds all of this.
    """

    rows: tuple[Measurement, ...]
    provenance: Mapping[str, Any]
    record: Path


def run(out: Path, *, quick: bool = False, on_progress: OnProgress | None = None) -> EvaluateBench:
    """Makes inputs and times the evaluations on them, on the CPU.

    Args:
        out: folder for `bench_evaluate.json`.
        quick: small inputs, to see that it works; the times say nothing.
        on_progress: told of measurements.
    """
    make_folder(out)
    rows = []
    for place, measure in enumerate(MEASUREMENTS):
        rows.append(measure(quick=quick))
        if on_progress:
            on_progress(place + 1, len(MEASUREMENTS))
    result = EvaluateBench(rows=tuple(rows), provenance=_provenance(quick), record=out / FILE_NAME)
    content = {
        "provenance": result.provenance,
        "rows": [{**asdict(row), "holds": row.holds} for row in result.rows],
    }
    write_json(result.record, content)
    return result


def linear_probes(*, quick: bool) -> Measurement:
    """Linear probes of 14 findings at 1, 10 and 100 % of the labels, from one pass of features.

    Five draws each, and the figures of all labels with their bootstrap intervals.
    """
    num_train, width, num_findings = (400, 16, 2) if quick else (20_000, 512, 14)
    features, task = planted_findings(num_train, width, num_findings, seed=0)
    draws = Draws(budgets=tuple(Budget(share=share) for share in (0.01, 0.1, 1.0)), num_seeds=5, seed=0)
    labels, truth = task.label_set(), task.labels[task.scored]
    start = time.perf_counter()
    reader = LinearReader(features)
    full = reader(labels, seed=0)
    result = score_method(Method.LINEAR, full, task, seed=0)
    points = list(label_points(Method.LINEAR, reader, labels, truth, draws=draws, full=full))
    seconds = time.perf_counter() - start
    means = [np.nanmean(point.mean_auroc) for point in points]
    assert np.isclose(means[-1], result.table.mean.auroc.value)
    return Measurement(
        name="linear probe, 6 penalties, 3 shares of the labels, 5 draws, intervals",
        size=f"{num_findings} findings, {num_train:,} x {width} features",
        seconds=seconds,
        most_seconds=None if quick else 120.0,
        found=f"mean AUROC {', '.join(f'{mean:.2f}' for mean in means)} at 1, 10 and 100 %",
    )


def planted_findings(num_train: int, width: int, num_findings: int, *, seed: int) -> tuple[Parts, ProbeTask]:
    """Features and findings that follow from them by logistic models, a tenth of the labels missing.

    The features have a few strong directions and many weak ones, as those of encoders do; findings have
    5 to 30 % positives. There is an eighth as many validation films, and a quarter as many to be scored.
    """
    generator = np.random.default_rng(seed)
    sizes = (num_train, num_train // 8, num_train // 4)
    ends = np.cumsum(sizes)
    spectrum = np.arange(1, width + 1) ** -0.5
    turn = np.linalg.qr(generator.normal(size=(width, width)))[0]
    axes = generator.normal(size=(ends[-1], width)) * spectrum
    log_odds = axes @ generator.normal(size=(width, num_findings)) - np.linspace(1.5, 5.0, num_findings)
    labels = (generator.logistic(size=log_odds.shape) < log_odds).astype(np.float64)
    labels[generator.random(labels.shape) < 0.1] = np.nan
    rows = np.split(np.arange(ends[-1]), ends[:-1])
    task = ProbeTask(
        names=tuple(f"finding {number + 1}" for number in range(num_findings)),
        labels=labels,
        targets=(),
        patients=np.arange(ends[-1]) // 2,
        images=np.arange(ends[-1]).astype(str),
        train=rows[0],
        validate=rows[1],
        scored=rows[2],
    )
    features = (axes @ turn).astype(np.float32)
    return Parts(*(features[part] for part in rows)), task


MEASUREMENTS: tuple[Callable[..., Measurement], ...] = (
    linear_probes,
    ranks_of_pairs,
    one_more_phrase,
)
"""Each takes `quick` and gives one measurement."""


def _provenance(quick: bool) -> dict[str, Any]:
    return {
        "command": f"mmil bench evaluate{' --quick' if quick else ''}",
        "processor": processor(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "blas_threads": max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"),
        "versions": versions(),
        "commit": commit(),
    }
