"""The folder of a study: what it was asked, its data, and a folder a cell; one run works in it at a time."""

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmil_cli.errors import DataError, UsageError, listing
from mmil_cli.files import make_folder, remove, write_atomic, write_json
from mmil_cli.metrics.intervals import interval
from mmil_cli.runtime import versions
from mmil_cli.stages.study.figures import Figure
from mmil_cli.stages.study.kinds import StudyData
from mmil_cli.stages.study.plan import Cell, StudyPlan

try:
    import fcntl
except ImportError:  # a system without it: two runs into one folder are not found out
    fcntl = None  # type: ignore[assignment]

STUDY, LOCK, DATA, CELLS = "study.json", ".lock", "data", "cells"
RESULT, DRAWS, FAILURE = "cell.json", "draws.npy", "failure.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class CellResult:
    """A finished cell.

    Attributes:
        cell: which.
        figures: means over findings with their resamples, and those of each finding with ends of intervals.
        ends: low and high end of each figure's interval over cases alone, in the order of the figures.
        seconds: that it took.
    """

    cell: Cell
    figures: tuple[Figure, ...]
    ends: tuple[tuple[float, float], ...]
    seconds: float

    def figure(self, metric: str) -> Figure | None:
        """The mean of a metric; None where the cell does not come to it."""
        return next((f for f in self.figures if f.metric == metric and not f.finding), None)


@contextmanager
def held(out: Path) -> Iterator[None]:
    """The folder, for this run alone until it ends, however it ends.

    Raises:
        UsageError: another run has it, or something else lies there.
    """
    make_folder(out)
    strangers = [path.name for path in out.iterdir() if path.name != LOCK]
    if strangers and not (out / STUDY).is_file():
        raise UsageError(
            f"{out} holds something else ({listing(sorted(strangers), 3)}); "
            "give the study a folder of its own"
        )
    with (out / LOCK).open("ab") as lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"another run is at work in {out} just now; wait for its end, or choose another --out"
                ) from error
        yield


def begin(out: Path, plan: StudyPlan, *, threads: int) -> None:
    """Writes down what is asked, claims and rule included, before anything is run; or finds the same there.

    Raises:
        UsageError: the folder is of another study, or of the same one asked otherwise.
    """
    asked = _asked(plan, threads=threads)
    earlier = _read_json(out / STUDY)
    if earlier is None:
        write_json(out / STUDY, {"format": FORMAT, **asked, "data": {}, "versions": versions()})
        return
    told = [key for key, value in asked.items() if earlier.get(key) != json.loads(json.dumps(value))]
    if told:
        raise UsageError(f"{out} holds {_difference(told, earlier, asked)}; choose another --out")


def keep_data(out: Path, data: StudyData) -> None:
    """Remembers what data this is, or refuses it where it was another.

    Raises:
        DataError: it has changed since the study began.
    """
    record = _read_json(out / STUDY)
    assert record is not None
    known = record["data"].get(data.name)
    if known is None:
        record["data"][data.name] = {"title": data.title, "content_hash": data.content_hash}
        write_json(out / STUDY, record)
    elif known["content_hash"] != data.content_hash:
        raise DataError(
            f"data {data.name} ({data.folder}) has changed since this study began: its hash was "
            f"{known['content_hash'][:12]} and is {data.content_hash[:12]}; give the same data, or another "
            "--out"
        )


def cell_folder(out: Path, cell: Cell) -> Path:
    """Where a cell works."""
    return out / CELLS / cell.folder


def write_cell(
    folder: Path, figures: Iterable[Figure], *, settings: Mapping[str, Any], seconds: float
) -> None:
    """The result of a cell, whole or not at all."""
    found = tuple(figures)
    drawn = [figure.draws for figure in found if figure.draws is not None and not figure.finding]
    stacked = np.stack(drawn) if drawn else np.empty((0, 0))
    write_atomic(folder / DRAWS, lambda path: _save(path, stacked))
    record = {
        "format": FORMAT,
        "settings": dict(settings),
        "seconds": seconds,
        "figures": [_record(figure) for figure in found],
    }
    write_json(folder / RESULT, record)
    remove(folder / FAILURE)


def read_cell(out: Path, cell: Cell) -> CellResult | None:
    """The result of a cell; None where it is not finished.

    Raises:
        DataError: its files are damaged.
    """
    folder = cell_folder(out, cell)
    if not (folder / RESULT).is_file():
        return None
    try:
        record = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        waiting = iter(np.load(folder / DRAWS))
        figures = tuple(
            Figure(
                metric=entry["metric"],
                value=_number(entry["value"]),
                finding=entry["finding"],
                chance=_number(entry["chance"]),
                draws=next(waiting) if entry["has_draws"] else None,
                cases=entry["cases"],
                num_groups=entry["num_groups"],
            )
            for entry in record["figures"]
        )
        ends = tuple((_number(entry["low"]), _number(entry["high"])) for entry in record["figures"])
        return CellResult(cell=cell, figures=figures, ends=ends, seconds=float(record["seconds"]))
    except (ValueError, KeyError, TypeError, OSError, StopIteration) as error:
        raise DataError(f"{folder} is damaged; remove it and give the same command again") from error


def write_failure(folder: Path, why: str) -> None:
    """Why a cell came to nothing."""
    write_json(folder / FAILURE, {"why": why})


def clear_failure(folder: Path) -> None:
    """A cell that failed is tried again."""
    remove(folder / FAILURE)


def read_failure(out: Path, cell: Cell) -> str | None:
    """Why a cell came to nothing; None where it did not fail."""
    record = _read_json(cell_folder(out, cell) / FAILURE)
    return None if record is None else str(record["why"])


def clear_aside(folder: Path) -> None:
    """Removes what a killed process left half made of the data."""
    for path in folder.glob(".*.writing-*") if folder.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)


def _asked(plan: StudyPlan, *, threads: int) -> dict[str, Any]:
    return {
        "study": plan.study.model_dump(mode="json"),
        "form": plan.form,
        "scale": plan.scale,
        "threads": threads,
        "data_used": [data.name for data in plan.data],
        "phrases": {data.name: data.settings["phrases"] for data in plan.data if "phrases" in data.settings},
    }


def _difference(told: list[str], earlier: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What lies there, as a clause."""
    if "study" not in told:
        words = [f"{key} {earlier.get(key)}, not {asked[key]}" for key in told]
        return f"this study with {listing(words)}"
    there, here = earlier.get("study") or {}, asked["study"]
    if there.get("name") != here["name"]:
        return f"another study, {there.get('name')!r}"
    keys = [key for key in here if there.get(key) != json.loads(json.dumps(here[key]))]
    return f"this study with another recipe ({listing(keys)} differ), and claims are decided by the first one"


def _record(figure: Figure) -> dict[str, Any]:
    own = interval(figure.value, np.empty(0) if figure.draws is None else figure.draws)
    kept = {key: value for key, value in asdict(figure).items() if key != "draws"}
    has_draws = figure.draws is not None and not figure.finding
    return {**kept, "low": own.low, "high": own.high, "has_draws": has_draws}


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is damaged; choose another --out, or remove it with its folder") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is damaged; choose another --out, or remove it with its folder")
    return found
