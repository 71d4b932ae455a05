"""The commands that make what a report shows, from what the runs and records say of themselves."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmil_cli.checkpoint import RECIPE
from mmil_cli.stages.report_records import Record, Run

_PROBE = {
    "methods": "--method",
    "findings": "--findings",
    "classes": "--classes",
    "labels": "--labels",
    "draws": "--draws",
    "prompts": "--prompts",
    "calibrate": "--calibrate",
    "epochs": "--epochs",
    "from_layer": "--from-layer",
    "uncertain": "--uncertain",
    "missing": "--missing",
}


def commands(runs: Sequence[Run]) -> Iterator[str]:
    """One text a run: how it was trained, and each of its results; folders as they are called there."""
    for run in runs:
        yield "\n".join([_pretrain(run), *(_evaluate(run, record) for record in run.records)])


def _pretrain(run: Run) -> str:
    dataset = next((record.provenance["dataset"]["folder"] for record in run.records
                    if record.scored[0] == run.checkpoint.card.dataset_hash), "DATASET")  # fmt: skip
    return _line(
        "mmil", "pretrain", dataset, "--recipe", str(run.checkpoint.folder / RECIPE), "--out", str(run.folder)
    )


def _evaluate(run: Run, record: Record) -> str:
    told = record.provenance
    options: Mapping[str, Any] = told.get("options", {})
    words = ["mmil", record.task]
    if record.task == "ground":
        words += ["--phrases", str(options.get("phrases", "PHRASES")), "--data"]
    words += [str(told["dataset"]["folder"]), "--checkpoint", str(run.folder), "--split", str(told["split"])]
    if record.task == "probe":
        words += [word for name, flag in _PROBE.items() for word in _option(flag, options.get(name))]
    if record.task == "ground":
        words += _option("--smooth", options.get("smooth"))
    return _line(*words, *_option("--seed", told.get("seed")), "--out", str(Path(record.path).parent))


def _option(flag: str, value: Any) -> list[str]:
    """The flag with its value; nothing where there is none, or it is off."""
    if value is None or (flag != "--seed" and value in ("", 0, 0.0, [])):
        return []
    return [flag, ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)]


def _line(*words: str) -> str:
    return shlex.join(words)
