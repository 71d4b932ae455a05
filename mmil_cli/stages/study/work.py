"""Cells at work: side by side in processes of their own or of a cluster; one that fails stops no other."""

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from mmil_cli.errors import Interrupted, MmilError
from mmil_cli.files import make_folder, write_text
from mmil_cli.stages.study.folder import (
    RESULT,
    cell_folder,
    clear_failure,
    read_failure,
    write_cell,
    write_failure,
)
from mmil_cli.stages.study.kinds import CellPlace, Settings, StudyData, cell_kind
from mmil_cli.stages.study.plan import Cell
from mmil_cli.stages.workers import Processes, Workers, in_order

TRACE = "failure.txt"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A cell, in what a process needs to know of it.

    Attributes:
        kind: of the cell.
        settings: of the cell.
        place: where it works.
        threads: that it may use.
        lacks: what it needs and does not have; empty where nothing is missing.
    """

    kind: str
    settings: Settings
    place: CellPlace
    threads: int
    lacks: str = ""


class CellProcesses(Processes):
    """Worker processes that are told to stop when their owner is, and save what they have."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.ahead = number
        self._strangers = set(multiprocessing.active_children())

    def __exit__(self, *exception: object) -> None:
        if exception and exception[0] is not None:
            for child in set(multiprocessing.active_children()) - self._strangers:
                child.terminate()
        super().__exit__(*exception)


def run_cells(
    out: Path,
    cells: Sequence[Cell],
    *,
    data: Mapping[str, StudyData],
    workers: AbstractContextManager[Workers],
    threads: int,
    device: str,
    on_cell: Callable[[Cell], None],
) -> None:
    """Runs cells, those that need others after them; each writes its result or why it has none.

    Args:
        out: folder of the study.
        cells: to be run.
        data: by name.
        workers: what runs them.
        threads: of each cell.
        device: auto, cpu or cuda.
        on_cell: told of each that is done.
    """
    with workers as pool:
        for wave in _waves(cells):
            jobs = [_job(out, cell, data, threads=threads, device=device) for cell in wave]
            outcomes = in_order(pool, run_job, jobs, ready=_not_done, crashed=_crashed)
            for cell, _ in zip(wave, outcomes, strict=True):
                on_cell(cell)


def run_job(job: Job) -> bool:
    """Runs a cell in this process; whether it came to its end.

    What goes wrong in it is written into its folder. A wish to stop ends the process, for the next cell in
    its queue would not know of it; what is to be saved has been by then.
    """
    folder = job.place.folder
    make_folder(folder)
    clear_failure(folder)
    if job.lacks:
        write_failure(folder, job.lacks)
        return False
    started = time.monotonic()
    try:
        with threadpool_limits(limits=job.threads):
            torch.set_num_threads(job.threads)
            _take_a_gpu()
            figures = tuple(cell_kind(job.kind).run(job.settings, job.place))
    except Interrupted as stop:
        if multiprocessing.parent_process() is None:
            raise
        os._exit(stop.exit_code)
    except MmilError as error:
        write_failure(folder, str(error))
        return False
    except Exception as error:  # noqa: BLE001 - one cell must not stop the others, and this is told at the end
        write_text(folder / TRACE, traceback.format_exc())
        write_failure(folder, f"{type(error).__name__}: {error} ({folder / TRACE} has the details)")
        return False
    write_cell(folder, figures, settings=job.settings, seconds=time.monotonic() - started)
    return True


def _waves(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Cells that need none of the others that are left, then those that needed them, and so on."""
    waiting = list(cells)
    while waiting:
        names = {cell.folder for cell in waiting}
        wave = [cell for cell in waiting if not names & set(cell.needs.values())]
        yield wave
        waiting = [cell for cell in waiting if cell not in wave]


def _job(out: Path, cell: Cell, data: Mapping[str, StudyData], *, threads: int, device: str) -> Job:
    needed = {arm: cell_folder(out, cell).with_name(name) for arm, name in cell.needs.items()}
    missing = [arm for arm, folder in needed.items() if not (folder / RESULT).is_file()]
    place = CellPlace(
        folder=cell_folder(out, cell),
        seed=cell.seed,
        data=data.get(cell.data),
        needed=needed,
        device=device,
    )
    return Job(
        kind=cell.row.kind,
        settings=cell.settings,
        place=place,
        threads=threads,
        lacks=f"it needs the cell of {missing[0]}, which failed" if missing else "",
    )


def _not_done(_: Job) -> bool | None:
    """What is to be run has no outcome yet."""
    return None


def _crashed(job: Job) -> bool:
    write_failure(
        job.place.folder,
        "its process was ended from outside, each time; memory may be short: try fewer --workers",
    )
    return False


def _take_a_gpu() -> None:
    """Spreads the processes of a pool over the GPUs, by their number."""
    num_gpus = torch.cuda.device_count()
    number = multiprocessing.current_process().name.rpartition("-")[2]
    if num_gpus > 1 and number.isdecimal():
        torch.cuda.set_device(int(number) % num_gpus)


def failures_of(out: Path, cells: Sequence[Cell]) -> dict[str, str]:
    """Why cells came to nothing, by their names."""
    found = {cell.name: read_failure(out, cell) for cell in cells}
    return {name: why for name, why in found.items() if why is not None}
