"""What is already done of a dataset: the finished folder, or the full shards of an interrupted run."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmil_cli import __version__
from mmil_cli.data.info import INFO_FILE, REJECTED_FILE, DatasetInfo, ShardInfo, partial_folder, read_info
from mmil_cli.errors import UsageError, listing

_PLAN_FILE = "plan.json"


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

    def differences(self, options: Mapping[str, Any], source: str) -> list[str]:
        """What was otherwise in another run, told as `side: 256, now 512`; empty when nothing was."""
        told = [
            f"{name}: {options.get(name)}, now {self.options.get(name)}"
            for name in sorted({*options, *self.options})
            if options.get(name) != self.options.get(name)
        ]
        return told if told or source == self.source else ["records or files of the source have changed"]


@dataclass(frozen=True)
class ShardProgress:
    """What is remembered of a full shard.

    Attributes:
        records: how many records of the source went into it, rejected ones among them.
        digests: of its rows in order.
        rejected: the lines of `rejected.csv` that belong before its end.
    """

    shard: ShardInfo
    records: int
    digests: tuple[str, ...]
    rejected: tuple[tuple[str, ...], ...]


class Workshop:
    """The hidden folder beside the dataset in which an unfinished one is gathered.

    `dataset/` becomes the dataset folder by one rename; `progress/` says what of it is safe.
    """

    def __init__(self, target: Path) -> None:
        self.target = target.absolute()
        self.folder = partial_folder(self.target)
        self.dataset = self.folder / "dataset"
        self.progress = self.folder / "progress"

    def start(self, plan: Plan, *, overwrite: bool) -> None:
        """Make the folder, or go on in the one of an earlier run by the same plan.

        Raises:
            UsageError: the earlier run had another plan, and is not to be thrown away.
        """
        told = self._earlier_differences(plan)
        if told and not overwrite:
            raise UsageError(
                f"an interrupted run for {self.target.name} was asked otherwise ({listing(told)}); "
                "ask the same to go on, or start anew with --overwrite"
            )
        if told is None or told:
            self.remove()
        self.dataset.mkdir(parents=True, exist_ok=True)
        self.progress.mkdir(exist_ok=True)
        write_whole(self.progress / _PLAN_FILE, json.dumps(asdict(plan), sort_keys=True))

    def _earlier_differences(self, plan: Plan) -> list[str] | None:
        """What an interrupted run was asked otherwise; None without such a run."""
        path = self.progress / _PLAN_FILE
        if not path.is_file():
            return None
        earlier = json.loads(path.read_text(encoding="utf-8"))
        told = plan.differences(earlier["options"], earlier["source"])
        if earlier["version"] != plan.version:
            told.append(f"mmil {earlier['version']}, now {plan.version}")
        return told

    def full_shards(self) -> Iterator[ShardProgress]:
        """The shards that an earlier run completed, in order."""
        for number, path in enumerate(sorted(self.progress.glob("shard-*.json"))):
            content = json.loads(path.read_text(encoding="utf-8"))
            shard = ShardInfo(**content["shard"])
            file = self.dataset / shard.file
            if path.stem != shard_name(number) or not file.is_file() or file.stat().st_size != shard.bytes:
                return
            rejected = tuple(tuple(line) for line in content["rejected"])
            yield ShardProgress(shard, content["records"], tuple(content["digests"]), rejected)

    def keep(self, progress: ShardProgress) -> None:
        """Remember a shard as complete."""
        path = self.progress / f"{Path(progress.shard.file).stem}.json"
        write_whole(path, json.dumps(asdict(progress)))

    def publish(self) -> None:
        """Put the finished dataset into its place, instead of an older one that lies there."""
        if self.target.is_dir():
            old = self.folder / "old"
            self.target.rename(old)
        self.dataset.rename(self.target)
        self.remove()

    def remove(self) -> None:
        """Throw the folder away."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)


def finished_dataset(folder: Path, plan: Plan, *, overwrite: bool) -> DatasetInfo | None:
    """The dataset that already lies at `folder` by the same plan; None where one is to be written.

    Raises:
        UsageError: a dataset by another plan lies there, or something that is no dataset.
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
    told = plan.differences(info.options, info.source)
    if told:
        raise UsageError(
            f"{folder} already holds a dataset that was made otherwise ({listing(told)}); "
            "choose another --out, or replace it with --overwrite"
        )
    return info


def _refuse_foreign_files(folder: Path) -> None:
    """A folder that is replaced goes with all that lies in it; so nothing of somebody else's may."""
    own = (INFO_FILE, REJECTED_FILE)
    foreign = sorted(path.name for path in folder.iterdir()
                     if path.name not in own and not path.match("shard-*.arrow"))  # fmt: skip
    if foreign:
        raise UsageError(
            f"{folder} holds more than a dataset ({listing(foreign)}); move that away before --overwrite"
        )


def shard_name(number: int) -> str:
    """The name of a shard without its suffix."""
    return f"shard-{number:05d}"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    aside = path.with_suffix(".tmp")
    with aside.open("w", encoding="utf-8", newline="") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    aside.replace(path)
