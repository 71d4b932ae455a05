"""Study: a recipe of claims in, and out a folder with its cells, tables, verdicts and a page."""

import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.info import read_info
from mmil_cli.errors import UsageError
from mmil_cli.files import write_text
from mmil_cli.stages.dask_workers import DaskWorkers
from mmil_cli.stages.study.comparisons import Key, Results
from mmil_cli.stages.study.folder import (
    DATA,
    CellResult,
    begin,
    cell_folder,
    clear_aside,
    held,
    keep_data,
    read_cell,
)
from mmil_cli.stages.study.kinds import CellPlace, OnProgress, StudyData, cell_kind, data_kind
from mmil_cli.stages.study.page import write_page
from mmil_cli.stages.study.plan import Cell, DataPlan, StudyPlan
from mmil_cli.stages.study.relations import relations
from mmil_cli.stages.study.result_files import write_tables
from mmil_cli.stages.study.tables import Gap, Summary, gaps, summaries
from mmil_cli.stages.study.verdicts import ClaimVerdict, decide
from mmil_cli.stages.study.work import CellProcesses, failures_of, run_cells
from mmil_cli.stages.workers import Workers

PAGE = "page.html"


def _silent_stage(name: str) -> OnProgress:  # noqa: ARG001
    return lambda _done, _total: None


@dataclass(frozen=True, kw_only=True)
class Watchers:
    """Who is told.

    Attributes:
        on_stage: of a stage that begins; gives what to call with (done, total).
        on_note: of something worth a line.
    """

    on_stage: Callable[[str], OnProgress] = _silent_stage
    on_note: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What a study came to.

    Attributes:
        plan: what was asked.
        verdicts: of every claim on every data.
        summaries: the mean of each row.
        gaps: each row against the baseline.
        failures: why cells came to nothing, by their names.
        page: the HTML page.
    """

    plan: StudyPlan
    verdicts: tuple[ClaimVerdict, ...]
    summaries: tuple[Summary, ...]
    gaps: tuple[Gap, ...]
    failures: Mapping[str, str]
    page: Path


def run(
    plan: StudyPlan,
    out: Path,
    *,
    workers: int | None = None,
    threads: int = 1,
    scheduler: str | None = None,
    device: str = "auto",
    watchers: Watchers | None = None,
) -> StudyResult:
    """Runs the cells that are not finished, then writes tables and page of all that are.

    The tables do not depend on the number of workers nor on how often the study was interrupted; on a CPU
    they may depend on `threads`, so that a folder keeps to those that it began with.

    Args:
        plan: of `plan_study`.
        out: folder of the study; of this one, or new.
        workers: cells at a time; None for one to `threads` processors, or one a GPU.
        threads: of a cell.
        scheduler: of a Dask cluster whose workers run the cells, in place of local processes.
        device: auto, cpu or cuda.
        watchers: told of progress.

    Raises:
        UsageError: the folder is another study's, or another run works in it.
        DataError: data has changed since the study began.
    """
    watchers = watchers or Watchers()
    _check_numbers(workers, threads)
    with held(out):
        begin(out, plan, threads=threads)
        data = {entry.name: _made(out, entry, watchers) for entry in plan.data}
        for entry in data.values():
            keep_data(out, entry)
        left = [cell for cell in plan.cells if read_cell(out, cell) is None]
        number = _num_workers(workers, threads=threads, device=device, num_cells=len(left))
        if left:
            torch.set_num_threads(threads)
            taken = estimate_seconds(plan, out, left, data=data, device=device)
            watchers.on_note(_told(plan, left, taken, None if scheduler else number))
        _work(out, plan, left, data, _pool(scheduler, number, out), threads, device, watchers)
        return conclude(plan, out, data=data, device=device)


def conclude(
    plan: StudyPlan, out: Path, *, data: Mapping[str, StudyData], device: str = "auto"
) -> StudyResult:
    """Tables, verdicts and page of the cells that are finished."""
    results = finished(plan, out)
    verdicts, found, differences = decide(plan, results), summaries(plan, results), gaps(plan, results)
    related = relations(plan, results)
    result = StudyResult(
        plan=plan,
        verdicts=verdicts,
        summaries=found,
        gaps=differences,
        failures=failures_of(out, plan.cells),
        page=out / PAGE,
    )
    write_tables(out, plan, results, found=found, differences=differences, verdicts=verdicts, related=related)
    commands = {cell.name: _commands(out, cell, data, device) for cell in plan.cells}
    write_text(
        result.page,
        write_page(
            plan,
            verdicts=verdicts,
            found=found,
            differences=differences,
            related=related,
            failures=result.failures,
            commands=commands,
            seconds={cell.cell.name: cell.seconds for cell in results.values()},
        ),
    )
    return result


def finished(plan: StudyPlan, out: Path) -> Results:
    """Results of the cells that have one."""
    found: dict[Key, CellResult] = {}
    for cell in plan.cells:
        result = read_cell(out, cell)
        if result is not None:
            found[cell.data, cell.condition, cell.row.name, cell.seed] = result
    return found


def estimate_seconds(
    plan: StudyPlan, out: Path, left: Sequence[Cell], *, data: Mapping[str, StudyData], device: str
) -> float:
    """How long the cells that are left take one after another.

    By the finished cells of this folder of the same kind; where there are none, by a trial of the costliest.
    """
    total = 0.0
    for name in dict.fromkeys(cell.row.kind for cell in left):
        kind = cell_kind(name)
        size = functools.partial(_size, data=data)
        wanted = [cell for cell in left if cell.row.kind == name]
        done = [result for cell in plan.cells if cell.row.kind == name and (result := read_cell(out, cell))]
        measured = sum(size(result.cell) for result in done)
        if measured > 0:
            rate = sum(result.seconds for result in done) / measured
        else:
            costliest = max(wanted, key=size)
            place = _place(out, costliest, data, device)
            rate = kind.seconds(costliest.settings, place) / max(size(costliest), 1e-9)
        total += rate * sum(map(size, wanted))
    return total


def _size(cell: Cell, *, data: Mapping[str, StudyData]) -> float:
    try:
        return cell_kind(cell.row.kind).work(cell.settings, data=data.get(cell.data))
    except UsageError as error:
        raise UsageError(f"cell {cell.name}: {error}") from error


def _made(out: Path, entry: DataPlan, watchers: Watchers) -> StudyData:
    folder = out / DATA / entry.name
    clear_aside(folder)
    dataset, phrases = data_kind(entry.kind).make(
        entry.settings, folder, given=entry.given, on_progress=watchers.on_stage(f"data {entry.name}")
    )
    if entry.offers:
        films = StudyDataset.open(dataset)
        for split in {entry.split, *([entry.boxes_split] if phrases else [])}:
            films.indices(split)  # what is not there is better told now than by every cell
    digest = hashlib.sha256(read_info(dataset).content_hash.encode() if entry.offers else b"")
    if phrases is not None:
        digest.update(phrases.read_bytes())
    return StudyData(
        name=entry.name,
        title=entry.title,
        offers=entry.offers,
        folder=dataset,
        phrases=phrases,
        content_hash=digest.hexdigest(),
        split=entry.split,
        boxes_split=entry.boxes_split,
    )


def _work(
    out: Path,
    plan: StudyPlan,
    left: Sequence[Cell],
    data: Mapping[str, StudyData],
    pool: AbstractContextManager[Workers],
    threads: int,
    device: str,
    watchers: Watchers,
) -> None:
    if not left:
        return
    tell, done, total = watchers.on_stage("cells"), len(plan.cells) - len(left), len(plan.cells)
    tell(done, total)

    def one_more(cell: Cell) -> None:  # noqa: ARG001
        nonlocal done
        done += 1
        tell(done, total)

    run_cells(out, left, data=data, workers=pool, threads=threads, device=device, on_cell=one_more)


def _pool(scheduler: str | None, number: int, out: Path) -> AbstractContextManager[Workers]:
    return CellProcesses(number) if scheduler is None else DaskWorkers(scheduler, out.resolve())


def _check_numbers(workers: int | None, threads: int) -> None:
    if threads < 1:
        raise UsageError(f"--threads is {threads}; a cell has at least 1")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers is {workers}; give at least 1, or leave it out")


def _num_workers(wanted: int | None, *, threads: int, device: str, num_cells: int) -> int:
    num_gpus = torch.cuda.device_count() if device != "cpu" else 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    number = wanted or num_gpus or max(1, cores // threads)
    return max(1, min(number, num_cells))


def _told(plan: StudyPlan, left: Sequence[Cell], seconds: float, number: int | None) -> str:
    """How much is left, and how long it takes with so many workers; None for those of a cluster."""
    done = len(plan.cells) - len(left)
    before = f"{done} of {len(plan.cells)} cells are done; the other" if done else "the"
    where = {None: "of one worker, shared by those of the cluster", 1: "one after another"}
    how = where.get(number, f"{number} at a time")
    return f"{before} {len(left)} cells take about {duration(seconds / (number or 1))}, {how}"


def duration(seconds: float) -> str:
    """`40 s`, `9 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _place(out: Path, cell: Cell, data: Mapping[str, StudyData], device: str) -> CellPlace:
    folder = cell_folder(out, cell)
    needed = {arm: folder.with_name(name) for arm, name in cell.needs.items()}
    return CellPlace(folder=folder, seed=cell.seed, data=data.get(cell.data), needed=needed, device=device)


def _commands(out: Path, cell: Cell, data: Mapping[str, StudyData], device: str) -> tuple[str, ...]:
    return cell_kind(cell.row.kind).commands(cell.settings, _place(out, cell, data, device))
