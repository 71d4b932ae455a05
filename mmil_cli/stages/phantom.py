"""Generate chest studies: films, reports, tables and the truth, as a MIMIC-CXR-like tree."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from mmil_cli.errors import DataError, UsageError
from mmil_cli.phantom.difficulty import Difficulty
from mmil_cli.phantom.plan import StudyPlan, plan_studies
from mmil_cli.phantom.study import StudyRows, write_study
from mmil_cli.phantom.tables import MARKER_FILE, write_marker, write_tables

GENERATOR_VERSION = 1
SMALLEST_SIDE, LARGEST_SIDE = 64, 4096
MOST_STUDIES = 1_000_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PhantomResult:
    """What lies in the folder.

    Attributes:
        written: False where the same studies already lay there.
        splits: studies by split.
        findings: studies by finding, as drawn.
    """

    folder: Path
    written: bool
    patients: int
    studies: int
    films: int
    splits: dict[str, int]
    findings: dict[str, int]


def run(
    out: Path,
    *,
    studies: int,
    seed: int = 0,
    difficulty: Difficulty = Difficulty.EASY,
    side: int = 512,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> PhantomResult:
    """Write `studies` generated studies to the folder `out`, complete or not at all.

    The bytes depend on studies, seed, difficulty and side alone, never on the number of workers (one a
    processor when not given). A folder that holds the same studies is left as it is.

    Raises:
        UsageError: an option is out of range.
        DataError: `out` holds something else.
    """
    _check(studies=studies, seed=seed, side=side, workers=workers)
    plans = plan_studies(studies, seed=seed, difficulty=difficulty)
    marker = _marker(plans, seed=seed, difficulty=difficulty, side=side)
    if _already_there(out, marker=marker):
        return _result(out, plans, written=False)
    with _aside(out) as folder:
        (folder / "truth" / "masks").mkdir(parents=True)
        task = partial(write_study, root=folder, difficulty=difficulty, side=side)
        rows = _write_all(plans, task=task, workers=workers or _processors(), on_progress=on_progress)
        write_tables(rows, root=folder)
        write_marker(folder, marker)
    return _result(out, plans, written=True)


def _check(*, studies: int, seed: int, side: int, workers: int | None) -> None:
    if not 1 <= studies <= MOST_STUDIES:
        raise UsageError(f"--studies is {studies}; ask for 1 to {MOST_STUDIES:,} studies.")
    if seed < 0:
        raise UsageError(f"--seed is {seed}; give 0 or a positive whole number.")
    if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise UsageError(
            f"--side is {side}; a film has from {SMALLEST_SIDE} to {LARGEST_SIDE} pixels on its longer side."
        )
    if workers is not None and workers < 1:
        raise UsageError(f"--workers is {workers}; give at least 1, or leave it out for one a processor.")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _marker(plans: Sequence[StudyPlan], *, seed: int, difficulty: Difficulty, side: int) -> dict[str, object]:
    return {
        "what": "generated chest studies, not patients; no number from them is clinical",
        "generator_version": GENERATOR_VERSION,
        "studies": len(plans),
        "films": sum(len(plan.films) for plan in plans),
        "patients": len({plan.subject_id for plan in plans}),
        "seed": seed,
        "difficulty": difficulty.value,
        "side": side,
    }


def _already_there(out: Path, *, marker: dict[str, object]) -> bool:
    """Whether the same studies lie there; a folder with anything else is never touched."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    path = out / MARKER_FILE
    if not path.is_file():
        raise DataError(
            f"{out} exists and holds no generated studies; choose another --out or remove it yourself."
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"{path} is not readable as JSON ({error}); remove {out} or choose another --out."
        ) from error
    if found != marker:
        raise DataError(
            f"{out} holds studies generated with other options ({_options(found)}); "
            "choose another --out, or remove that folder first."
        )
    return True


def _options(found: object) -> str:
    if not isinstance(found, dict):
        return "unknown"
    return ", ".join(f"{name} {found.get(name)}" for name in ("studies", "seed", "difficulty", "side"))


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """A fresh folder beside `out` that takes its place when all went well and vanishes otherwise."""
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(f".{out.name}.writing-{os.getpid()}")
    folder.mkdir()
    try:
        yield folder
        if out.exists():
            out.rmdir()
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_all(
    plans: Sequence[StudyPlan],
    *,
    task: Callable[[StudyPlan], StudyRows],
    workers: int,
    on_progress: Progress | None,
) -> list[StudyRows]:
    rows = []
    for done, row in enumerate(_mapped(plans, task=task, workers=min(workers, len(plans))), start=1):
        rows.append(row)
        if on_progress:
            on_progress(done, len(plans))
    return rows


def _mapped(
    plans: Sequence[StudyPlan], *, task: Callable[[StudyPlan], StudyRows], workers: int
) -> Iterator[StudyRows]:
    if workers == 1:
        yield from map(task, plans)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(task, plans, chunksize=4)


def _result(out: Path, plans: Sequence[StudyPlan], *, written: bool) -> PhantomResult:
    kinds = Counter(finding.kind.value for plan in plans for finding in plan.findings)
    return PhantomResult(
        folder=out,
        written=written,
        patients=len({plan.subject_id for plan in plans}),
        studies=len(plans),
        films=sum(len(plan.films) for plan in plans),
        splits=dict(Counter(plan.split for plan in plans)),
        findings=dict(sorted(kinds.items())),
    )
