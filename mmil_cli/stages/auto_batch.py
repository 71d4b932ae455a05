"""The largest batch that the memory of this machine holds."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from mmil_cli.config.load import check, read_tree
from mmil_cli.config.recipe import Recipe
from mmil_cli.core.memory import free_bytes
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import UsageError
from mmil_cli.files import recover_folder
from mmil_cli.runtime import pick_device
from mmil_cli.stages.pretrain_data import plan_batches
from mmil_cli.stages.pretrain_run import RECIPE
from mmil_cli.stages.trial import changed, run_trial

SHARE_OF_MEMORY = 0.5
"""Of what is free on a machine without a GPU; others use it too."""
LEAST_STEPS = 8
"""An epoch has at least so many: larger batches would leave too few steps to learn in."""
PROBES = (8, 24)
"""Batches whose memory is measured on a CPU; what a film takes follows from both."""
MULTIPLE = 8
MEMORY_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"))
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, kw_only=True)
class FoundBatch:
    """A batch and how it was found.

    Attributes:
        batch_size: films a step.
        how: a sentence for people.
    """

    batch_size: int
    how: str


def with_largest_batch(
    data: Path, out: Path, *, recipe: Recipe, device: str = "auto", overwrite: bool = False
) -> tuple[Recipe, FoundBatch]:
    """The recipe with the largest batch; a run that lies at `out` keeps the batch that it began with.

    Args:
        data: dataset folder.
        out: run folder.
        recipe: of the run, whose batch size is not read.
        device: auto, cpu or cuda.
        overwrite: the run at `out` is to be replaced.

    Raises:
        UsageError: not even the smallest batch fits, or there are too few films for any.
    """
    kept = None if overwrite else _batch_of_run(out)
    found = kept or find_batch(data, recipe=recipe, device=device)
    return changed(recipe, data__batch_size=found.batch_size), found


def find_batch(data: Path, *, recipe: Recipe, device: str = "auto") -> FoundBatch:
    """The largest batch that fits: on a CPU by what two small ones take, on a GPU by trying.

    The matrix of scores grows with the square of the batch, but is small beside what encoders keep; the
    other half of a CPU's memory is for it too.

    Raises:
        UsageError: not even the smallest fits, or there are too few films for any.
    """
    small = changed(recipe, data__batch_size=2)
    num_films = len(plan_batches(StudyDataset.open(data), small).rows)
    most = max(2, num_films // LEAST_STEPS)
    if pick_device(device).type == "cuda":
        return largest_by_trying(lambda batch: _fits(data, recipe, batch, device), most=most)
    low, high = sizes_to_probe(most)
    _memory(data, recipe, low, device)  # what libraries keep once they have run belongs to no film
    measured = [(batch, _memory(data, recipe, batch, device)) for batch in (low, high)]
    return largest_by_line(measured, free=available_memory(), most=most)


def sizes_to_probe(most: int) -> tuple[int, int]:
    """Two batches to measure, the larger at most the largest that is allowed."""
    return (PROBES[0], PROBES[1]) if most >= PROBES[1] else (max(2, most // 2), max(3, most))


def largest_by_line(measured: list[tuple[int, int]], *, free: int, most: int) -> FoundBatch:
    """The batch whose memory, on the line through two measured ones, is the allowed share of what is free.

    Args:
        measured: batch and bytes, twice.
        free: bytes.
        most: largest batch allowed.

    Raises:
        UsageError: not even 2 films fit.
    """
    (low, low_bytes), (high, high_bytes) = measured
    a_film = max(1.0, (high_bytes - low_bytes) / (high - low))
    fixed = max(0.0, low_bytes - a_film * low)
    allowed = SHARE_OF_MEMORY * free
    fitting = int((allowed - fixed) / a_film)
    if fitting < 2:
        raise UsageError(
            f"{allowed / 2**20:.0f} MiB, {SHARE_OF_MEMORY:.0%} of the free memory, do not hold two films; "
            "lower image.size, or take a smaller encoder"
        )
    batch = _rounded(min(fitting, most))
    memory = (
        f"a film takes {a_film / 2**20:.1f} MiB, and {SHARE_OF_MEMORY:.0%} of the free memory holds {fitting}"
    )
    return FoundBatch(batch_size=batch, how=f"data.batch_size={batch}: {memory}{_bound(fitting, most)}")


def largest_by_trying(fits: Callable[[int], bool], *, most: int) -> FoundBatch:
    """Doubles the batch until it no longer fits, then tries the middle.

    Args:
        fits: whether steps of such a batch run.
        most: largest batch allowed.

    Raises:
        UsageError: the smallest does not fit.
    """
    best, failed = 0, None
    for batch in _ladder(most):
        if not fits(batch):
            failed = batch
            break
        best = batch
    if not best:
        raise UsageError(
            f"the memory of the device does not hold {failed} films; lower image.size, "
            "or take a smaller encoder"
        )
    if failed is not None:
        middle = _rounded((best + failed) // 2)
        best = middle if best < middle < failed and fits(middle) else best
    said = f"{best} films fit" if failed is None else f"{best} films fit, {failed} do not"
    return FoundBatch(batch_size=best, how=f"data.batch_size={best}: {said}{_bound(failed or best, most)}")


def available_memory() -> int:
    """Bytes that this process may still take: what the system has left, within the limit of a container."""
    found = [free_bytes(torch.device("cpu"))]
    lines = MEMINFO.read_text().splitlines() if MEMINFO.is_file() else []
    told = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    found = told or found  # what caches hold is free too
    limit, used = (path.read_text().strip() if path.is_file() else "" for path in MEMORY_FILES)
    if limit.isdecimal() and used.isdecimal():
        found.append(max(0, int(limit) - int(used)))
    return min(found)


def _bound(fitting: int, most: int) -> str:
    if fitting <= most:
        return ""
    return f"; no more than {most}, for at least {LEAST_STEPS} steps an epoch"


def _rounded(batch: int) -> int:
    """Down to a multiple of 8, where there are as many."""
    return batch // MULTIPLE * MULTIPLE if batch >= MULTIPLE else batch


def _ladder(most: int) -> Iterator[int]:
    batch = min(MULTIPLE, most)
    while batch < most:
        yield batch
        batch *= 2
    yield _rounded(most)


def _fits(data: Path, recipe: Recipe, batch: int, device: str) -> bool:
    return run_trial(data, changed(recipe, data__batch_size=batch), device=device, steps=1).fits


def _memory(data: Path, recipe: Recipe, batch: int, device: str) -> int:
    in_line = changed(recipe, data__batch_size=batch, data__workers=0)
    memory = run_trial(data, in_line, device=device, steps=1).memory
    if memory is None:
        raise UsageError(
            f"this system ({os.name}) does not tell the peak of a process's memory; give data.batch_size"
        )
    return memory


def _batch_of_run(out: Path) -> FoundBatch | None:
    """The batch of a run that lies there, finished or not."""
    recover_folder(out / "checkpoint")
    path = out / RECIPE
    if not path.is_file():
        return None
    batch = check(read_tree(path), where=str(path)).data.batch_size
    return FoundBatch(batch_size=batch, how=f"data.batch_size={batch}: that of the run in {out}")
