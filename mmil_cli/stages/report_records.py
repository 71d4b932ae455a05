"""What a report is made from: run folders, and the records that belong to them by their provenance."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmil_cli.checkpoint import Checkpoint, open_checkpoint
from mmil_cli.errors import CheckpointError, DataError, UsageError
from mmil_cli.stages.compare import distinct_names
from mmil_cli.training.log import Entry, read_log

TASKS = ("probe", "retrieve", "ground")
"""Each writes TASK.json."""

Content = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One result file.

    Attributes:
        path: of the file.
        task: probe, retrieve or ground.
        content: as written.
        provenance: what the figures depend on.
        curves: of a probe, by method and finding; empty where there are none.
    """

    path: Path
    task: str
    content: Content
    provenance: Content
    curves: Content = field(default_factory=dict)

    @property
    def scored(self) -> tuple[str, str, str]:
        """Content hash, folder and split of the films that were scored."""
        dataset = self.provenance["dataset"]
        return dataset["content_hash"], dataset["folder"], self.provenance["split"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run folder.

    Attributes:
        name: as it is called in the report.
        folder: as given.
        log: of the training; empty for a checkpoint folder alone.
        checkpoint: its card and recipe.
        records: of this very checkpoint.
    """

    name: str
    folder: Path
    log: Sequence[Entry]
    checkpoint: Checkpoint
    records: tuple[Record, ...] = ()

    def of(self, task: str) -> list[Record]:
        """The records of a task."""
        return [record for record in self.records if record.task == task]


def read_runs(folders: Sequence[Path], results: Sequence[Path]) -> tuple[tuple[Run, ...], tuple[str, ...]]:
    """The runs with their records, and a sentence on each record that belongs to none of them.

    Args:
        folders: run or checkpoint folders.
        results: folders of results; these and the run folders are searched, and what is below them.

    Raises:
        UsageError: a folder is no run, or given twice; a folder of results is not there.
        DataError: a record or log is damaged.
    """
    checkpoints = [_open(folder) for folder in folders]
    for folder in results:
        if not folder.is_dir():
            raise UsageError(
                f"--results {folder} is no folder; give one that probe, retrieve or ground wrote"
            )
    names = distinct_names(folders) if len(folders) > 1 else [folders[0].resolve().name]
    records = [_read(path, task) for path, task in _files([*folders, *results])]
    runs, taken = [], set()
    for name, folder, checkpoint in zip(names, folders, checkpoints, strict=True):
        own = tuple(record for record in records if _belongs(record, checkpoint))
        taken |= {record.path for record in own}
        log = _log(folder)
        runs.append(Run(name=name, folder=folder, log=log, checkpoint=checkpoint, records=own))
    foreign = [record for record in records if record.path not in taken]
    return tuple(runs), tuple(_foreign(record) for record in foreign)


def _open(folder: Path) -> Checkpoint:
    try:
        return open_checkpoint(folder)
    except (CheckpointError, OSError) as error:
        raise UsageError(
            f"{folder} is no run: it has no complete checkpoint; give a folder that mmil pretrain wrote"
        ) from error


def _files(folders: Sequence[Path]) -> list[tuple[Path, str]]:
    """Every record in the folders and below them, once."""
    found: dict[Path, tuple[Path, str]] = {}
    for folder in folders:
        for task in TASKS:
            for path in sorted(folder.rglob(f"{task}.json")):
                found.setdefault(path.resolve(), (path, task))
    return list(found.values())


def _read(path: Path, task: str) -> Record:
    content = read_json(path)
    provenance = content.get("provenance", content)
    try:
        record = Record(
            path=path, task=task, content=content, provenance=provenance, curves=_curves(path, content)
        )
        _key(provenance["checkpoint"]), record.scored
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is no record of this version of mmil ({error!r}); run mmil {task} again"
        ) from error
    return record


def _curves(path: Path, content: Content) -> Content:
    name = content.get("curves")
    beside = path.parent / Path(str(name)).name
    return read_json(beside) if name and beside.is_file() else {}


def read_json(path: Path) -> dict[str, Any]:
    """A record as written.

    Raises:
        DataError: it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is damaged: it holds no JSON; run the command that wrote it again"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is no record of mmil; run the command that should have written it")
    return content


def _log(folder: Path) -> list[Entry]:
    try:
        return read_log(folder / "log.jsonl")
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(
            f"{folder / 'log.jsonl'} is damaged; copy the run again, or move the log away"
        ) from error


def _belongs(record: Record, checkpoint: Checkpoint) -> bool:
    """Whether a record tells of this checkpoint: by the folder's name, the data, the step and the seed."""
    card = checkpoint.card
    folder = "/".join(checkpoint.folder.resolve().parts[-2:])
    return _key(record.provenance["checkpoint"]) == (folder, card.dataset_hash, card.step, card.seed)


def _key(told: Content) -> tuple[Any, ...]:
    return told["folder"], told["dataset_hash"], told["step"], told["seed"]


def _foreign(record: Record) -> str:
    told = record.provenance["checkpoint"]
    return (
        f"{record.path} is of {told['folder']} at step {told['step']}, which is none of these runs: left out"
    )
