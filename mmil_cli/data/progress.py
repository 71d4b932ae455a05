"""What is already done of a dataset: the finished folder, or the parts that an interrupted run completed."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from mmil_cli import __version__
from mmil_cli.data.info import (
    INFO_FILE,
    REJECTED_FILE,
    STATES_FILE,
    DatasetInfo,
    ShardInfo,
    partial_folder,
    read_info,
)
from mmil_cli.data.manifest import STATE_BYTES
from mmil_cli.errors import UsageError, listing

try:
    import fcntl
except ImportError:  # a system without it goes without the lock
    fcntl = None  # type: ignore[assignment]

_PLAN_FILE = "plan.json"
_LOCK_FILE = "lock"


@dataclass(frozen=True)
class Plan:
    """What a dataset is made of; two runs with equal plans write equal bytes.

    Attributes:
        options: everything asked for that changes the content.
        source: fingerprint of the records and files of the source.
        version: of mmil; an interrupted run is not continued by another one.
    """

    options: Mapping[str, Any]
    source: str
    version: str = __version__

    def differences(self, options: Mapping[str, Any]) -> list[str]:
        """What was asked otherwise in another run, told as `side: 256, now 512`; empty when nothing was."""
        return [
            f"{name}: {options.get(name)}, now {self.options.get(name)}"
            for name in sorted({*options, *self.options})
            if options.get(name) != self.options.get(name)
        ]


@dataclass(frozen=True)
class Part:
    """A run of records that is done and safe.

    Attributes:
        shard: the rows of the part; None where all its records were left out.
        states: of its records in order, hexadecimal (`manifest.record_state`).
        kept: "1" for each record with a row, "0" for each left out.
        digests: of its rows in order.
        rejected: its lines of `rejected.csv`.
    """

    shard: ShardInfo | None
    states: str
    kept: str
    digests: tuple[str, ...]
    rejected: tuple[tuple[str, ...], ...]


class Workshop:
    """The hidden folder beside the dataset in which an unfinished one is gathered.

    `dataset/` becomes the dataset folder by one rename; `progress/` says what of it is safe; `old/` is the
    dataset that is being replaced, between two renames. One run at a time holds it.
    """

    def __init__(self, target: Path) -> None:
        self.target = target.absolute()
        self.folder = partial_folder(self.target)
        self.dataset = self.folder / "dataset"
        self.progress = self.folder / "progress"
        self._old = self.folder / "old"
        self._lock: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Put back what a run that was killed between two renames had moved.

        Raises:
            UsageError: another run is at work there.
        """
        if self.folder.is_dir():
            self._hold()
            if self._old.is_dir() and not self.target.exists():
                self._old.rename(self.target)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None

    def start(self, plan: Plan, states: bytes, *, overwrite: bool) -> None:
        """Make the folder, or go on in the one of an earlier run that was asked the same.

        Of that, the parts stay whose records, in order from the first, are as they were (`states`).

        Raises:
            UsageError: the earlier run was asked otherwise, and is not to be thrown away.
        """
        told = self._earlier_differences(plan)
        if told and not overwrite:
            raise self._asked_otherwise(told)
        self.dataset.mkdir(parents=True, exist_ok=True)
        self._hold()
        self.progress.mkdir(exist_ok=True)
        self._drop(0 if told is None or told else sum(1 for _ in self._valid_parts(states)))
        write_whole(self.progress / _PLAN_FILE, json.dumps(asdict(plan), sort_keys=True))

    def standing(self, plan: Plan, states: bytes) -> tuple[int, int]:
        """The records of an interrupted run that are not done again: with a row, and left out; looks only.

        Raises:
            UsageError: that run was asked otherwise.
        """
        told = self._earlier_differences(plan)
        if told:
            raise self._asked_otherwise(told)
        kept = [] if told is None else [part.kept for part in self._valid_parts(states)]
        return sum(row.count("1") for row in kept), sum(row.count("0") for row in kept)

    def _asked_otherwise(self, told: list[str]) -> UsageError:
        return UsageError(
            f"an interrupted run for {self.target.name} was asked otherwise ({listing(told)}); "
            "ask the same to go on, or start anew with --overwrite"
        )

    def _hold(self) -> None:
        """Be the only run in the folder, until this process ends or lets go."""
        if self._lock or fcntl is None:
            return
        path = self.folder / _LOCK_FILE
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                raise BlockingIOError  # its holder has just finished and removed the folder
        except BlockingIOError as fault:
            lock.close()
            raise UsageError(
                f"another run is making {self.target} just now; wait for its end, or choose another --out"
            ) from fault
        self._lock = lock

    def _earlier_differences(self, plan: Plan) -> list[str] | None:
        """What an interrupted run was asked otherwise; None without such a run."""
        earlier = _read_json(self.progress / _PLAN_FILE)
        if earlier is None:
            return None
        told = plan.differences(earlier["options"])
        if earlier["version"] != plan.version:
            told.append(f"mmil {earlier['version']}, now {plan.version}")
        return told

    def parts(self) -> Iterator[Part]:
        """The parts that are done, in order."""
        number = 0
        while content := _read_json(self._part(number)):
            shard = ShardInfo(**content["shard"]) if content["shard"] else None
            lines = tuple(tuple(line) for line in content["rejected"])
            yield Part(shard, content["states"], content["kept"], tuple(content["digests"]), lines)
            number += 1

    def _valid_parts(self, states: bytes) -> Iterator[Part]:
        """The first parts, as long as their records are as they were and their shards are there."""
        at = 0
        for part in self.parts():
            end = at + len(part.kept) * STATE_BYTES
            if states[at:end].hex() != part.states or not self._has(part.shard):
                return
            at = end
            yield part

    def _has(self, shard: ShardInfo | None) -> bool:
        if shard is None:
            return True
        file = self.dataset / shard.file
        return file.is_file() and file.stat().st_size == shard.bytes

    def _drop(self, num_valid: int) -> None:
        """Remove what is left of anything after the valid parts."""
        held = {
            part.shard.file for _, part in zip(range(num_valid), self.parts(), strict=False) if part.shard
        }
        for path in self.progress.glob("part-*.json"):
            if path not in {self._part(number) for number in range(num_valid)}:
                path.unlink()
        for path in self.dataset.iterdir():
            if path.name not in held:
                path.unlink()

    def keep(self, number: int, part: Part) -> None:
        """Remember a part as done."""
        write_whole(self._part(number), json.dumps(asdict(part)))

    def publish(self) -> None:
        """Put the finished dataset into its place, instead of an older one that lies there."""
        if self.target.is_dir():
            self.target.rename(self._old)
        self.dataset.rename(self.target)
        self.remove()

    def remove(self) -> None:
        """Throw the folder away."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def _part(self, number: int) -> Path:
        return self.progress / f"part-{number:06d}.json"


def finished_dataset(folder: Path, plan: Plan, *, overwrite: bool) -> DatasetInfo | None:
    """The dataset that lies at `folder` and was asked the same; None where one is to be written.

    Its source may be another one since: compare its `source` with the plan's.

    Raises:
        UsageError: a dataset that was asked otherwise lies there, or something that is no dataset.
    """
    occupied = folder.is_file() or (folder.is_dir() and any(folder.iterdir()))
    if occupied and not (folder / INFO_FILE).is_file():
        raise UsageError(f"{folder} is there already and is no dataset folder; choose another --out")
    if not occupied:
        return None
    if overwrite:
        _refuse_foreign_files(folder)
        return None
    info = read_info(folder)
    told = plan.differences(info.options)
    if told:
        raise UsageError(
            f"{folder} already holds a dataset that was made otherwise ({listing(told)}); "
            "choose another --out, or replace it with --overwrite"
        )
    return info


def _refuse_foreign_files(folder: Path) -> None:
    """A folder that is replaced goes with all that lies in it; so nothing of somebody else's may."""
    own = (INFO_FILE, REJECTED_FILE, STATES_FILE)
    foreign = sorted(path.name for path in folder.iterdir()
                     if path.name not in own and not path.match("shard-*.arrow"))  # fmt: skip
    if foreign:
        raise UsageError(
            f"{folder} holds more than a dataset ({listing(foreign)}); move that away before --overwrite"
        )


def shard_name(number: int) -> str:
    """The name of a shard without its suffix."""
    return f"shard-{number:05d}"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    aside = path.with_suffix(".tmp")
    with aside.open("wb") as handle:
        handle.write(content.encode() if isinstance(content, str) else content)
        handle.flush()
        os.fsync(handle.fileno())
    aside.replace(path)


def _read_json(path: Path) -> dict[str, Any] | None:
    """An object of our own; None where it is not there, or was damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None
