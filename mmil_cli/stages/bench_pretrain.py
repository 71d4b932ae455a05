"""How fast pretraining goes on this machine, and the settings that suit it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mmil_cli.config.recipe import DataSection, Recipe
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.files import make_folder, write_json
from mmil_cli.runtime import commit, has_fast_bfloat16, num_cores, pick_device, processor, versions
from mmil_cli.stages.auto_batch import FoundBatch, find_batch
from mmil_cli.stages.bench_scores import BenchRow
from mmil_cli.stages.bench_step import BF16, COMPARISONS
from mmil_cli.stages.pretrain_data import plan_batches
from mmil_cli.stages.trial import Trial, changed, run_trial

FILE_NAME = "bench_pretrain.json"
MOST_WAITING = 0.03  # of a step, for data
CLEARLY = 1.05  # times as fast, to be preferred over what is safer or lighter
WORKERS = (0, 1, 2, 4, 8)

OnProgress = Callable[[int, int], None]
"""Told how many measurements are done, of how many."""


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """Settings for this machine.

    Attributes:
        options: as `--set` takes them.
        reasons: one for each, for people.
    """

    options: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BenchPretrainResult:
    """Trials, ratios and what follows.

    Attributes:
        trials: settings tried, each by some steps of pretraining.
        rows: a step beside what it cannot do without.
        recommendation: what follows from the trials.
        provenance: what the figures depend on, the processor too.
        record: the JSON file that holds all of this.
    """

    trials: tuple[Trial, ...]
    rows: tuple[BenchRow, ...]
    recommendation: Recommendation
    provenance: Mapping[str, Any]
    record: Path


def run(
    data: Path,
    out: Path,
    *,
    recipe: Recipe,
    quick: bool = False,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> BenchPretrainResult:
    """Tries settings by pretraining for some steps, and compares a step with its parts.

    Args:
        data: dataset folder.
        out: folder for `bench_pretrain.json`.
        recipe: what is to be trained; its batch is the one of the ratios.
        quick: few steps, to see that all of it works; the figures say little.
        device: auto, cpu or cuda.
        on_progress: told of measurements.

    Raises:
        UsageError: the dataset has fewer films than a batch.
    """
    work = list(_trials_to_make(data, recipe, device=device))
    make_folder(out)
    total = len(work) + len(COMPARISONS) + 1
    told = on_progress or (lambda *_: None)
    run_trial(data, work[0], device=device, steps=1)  # what libraries keep once they have run is no trial's
    trials = []
    for number, candidate in enumerate(work, start=1):
        trials.append(run_trial(data, candidate, device=device, steps=1 if quick else 8))
        told(number, total)
    rows = []
    for number, comparison in enumerate(COMPARISONS, start=len(work) + 1):
        rows.append(comparison(data, recipe, rounds=1 if quick else 3, device=device))
        told(number, total)
    batch = find_batch(data, recipe=recipe, device=device)
    told(total, total)
    result = BenchPretrainResult(
        trials=tuple(trials),
        rows=tuple(row for row in rows if row is not None),
        recommendation=recommend(trials, bf16=_ratio_of_bf16(rows), batch=batch),
        provenance=_provenance(data, recipe, quick=quick, device=pick_device(device)),
        record=out / FILE_NAME,
    )
    write_json(result.record, _as_json(result))
    return result


def recommend(trials: Sequence[Trial], *, bf16: float | None, batch: FoundBatch) -> Recommendation:
    """Settings from what was measured.

    Of workers the fewest that keep the wait below 3 %, or else the fastest; bf16 where it is clearly faster.

    Args:
        trials: with several numbers of workers, all else as in the first; others are not read.
        bf16: time of a step / time in fp32; None where there is no fast bf16.
        batch: the largest that fits.
    """
    first = trials[0]
    alike = (first.batch_size, first.chunk, first.precision)
    by_workers = sorted(
        (t for t in trials if (t.batch_size, t.chunk, t.precision) == alike and t.fits),
        key=lambda trial: trial.workers,
    )
    quiet = [trial for trial in by_workers if trial.waiting <= MOST_WAITING]
    chosen = quiet[0] if quiet else max(by_workers, key=lambda trial: trial.films_per_second)
    precision = "bf16" if bf16 is not None and bf16 * CLEARLY <= 1 else "fp32"
    said = "this device has no fast bf16" if bf16 is None else f"a step in bf16 takes {bf16:.2f} of fp32's"
    return Recommendation(
        options=(
            f"data.batch_size={batch.batch_size}",
            f"data.workers={chosen.workers}",
            f"run.precision={precision}",
        ),
        reasons=(
            batch.how,
            f"data.workers={chosen.workers}: {chosen.waiting:.1%} of a step is spent waiting for data",
            f"run.precision={precision}: {said}",
        ),
    )


def _ratio_of_bf16(rows: Sequence[BenchRow | None]) -> float | None:
    found = [row.measured.time_ratio for row in rows if row is not None and row.name == BF16]
    return found[0] if found else None


def _trials_to_make(data: Path, recipe: Recipe, *, device: str) -> list[Recipe]:
    """Precisions, then workers, then batches about the recipe's, and one beyond it by chunks."""
    where = pick_device(device)
    num_films = len(plan_batches(StudyDataset.open(data), recipe).rows)
    size = recipe.data.batch_size
    best = changed(recipe, run__precision="bf16" if has_fast_bfloat16(where) else "fp32")
    found = [best]
    if best.run.precision == "bf16":
        found.append(changed(recipe, run__precision="fp32"))
    found += [
        changed(best, data__workers=workers)
        for workers in WORKERS
        if workers <= num_cores() and workers != recipe.data.workers
    ]
    found += [
        changed(best, data__batch_size=other)
        for other in (size // 4, size // 2, 2 * size)
        if 2 <= other <= num_films
    ]
    if "chunk" in DataSection.model_fields and 4 * size <= num_films:
        found.append(changed(best, data__batch_size=4 * size, data__chunk=size))
    return found


def _provenance(data: Path, recipe: Recipe, *, quick: bool, device: torch.device) -> dict[str, Any]:
    info = StudyDataset.open(data).info
    return {
        "command": " ".join(
            ["mmil bench pretrain", data.resolve().name, *_options(recipe), *["--quick"] * quick]
        ),
        "dataset": {"folder": data.resolve().name, "content_hash": info.content_hash, "side": info.side},
        "processor": processor(device),
        "device": device.type,
        "cores": num_cores(),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "commit": commit(),
    }


def _options(recipe: Recipe) -> list[str]:
    """What makes this recipe of the defaults."""
    defaults = Recipe().model_dump(mode="json")
    return [
        f"--set {section}.{key}={json.dumps(value) if isinstance(value, list) else value}"
        for section, keys in recipe.model_dump(mode="json").items()
        for key, value in keys.items()
        if value != defaults[section][key]
    ]


def _as_json(result: BenchPretrainResult) -> dict[str, Any]:
    content = asdict(result)
    del content["record"]
    return content
