"""`dataset.json`: what a dataset folder holds, how it was made, and the hash that names it."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmil_cli.data.pixels import Encoding
from mmil_cli.errors import DataError

INFO_FILE = "dataset.json"
REJECTED_FILE = "rejected.csv"
STATES_FILE = "records.bin"
"""16 bytes a record of the source, its state (`manifest.record_state`), and 1 or 0: it has a row or not."""

FORMAT = 1


@dataclass(frozen=True)
class SplitCounts:
    """How much one split holds."""

    images: int
    studies: int
    patients: int


@dataclass(frozen=True)
class ShardInfo:
    """One Arrow file of the dataset."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DatasetInfo:
    """The content of `dataset.json`.

    Attributes:
        side: most pixels of the long side of a film.
        encoding: how pixels are written (`Encoding`).
        counts: per split.
        content_hash: SHA-256 over all rows in order; equal for equal content, however it was made.
        options: what was asked of preprocess and changes the content.
        source: fingerprint of the source's records and files, to tell whether it has changed since.
        rejected: number of records left out, by reason.
    """

    side: int
    encoding: str
    label_names: tuple[str, ...]
    counts: Mapping[str, SplitCounts]
    content_hash: str
    options: Mapping[str, Any]
    source: str
    versions: Mapping[str, str]
    rejected: Mapping[str, int]
    shards: tuple[ShardInfo, ...]

    @property
    def num_rows(self) -> int:
        """Images in all splits."""
        return sum(shard.rows for shard in self.shards)

    def write(self, folder: Path) -> None:
        """Write `dataset.json` into a folder."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2)
        with (folder / INFO_FILE).open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())


def read_info(folder: Path) -> DatasetInfo:
    """Read the `dataset.json` of a folder.

    Raises:
        DataError: there is none, or it is not one that this version can read.
    """
    path = folder / INFO_FILE
    if not path.is_file():
        raise DataError(f"{folder} is no dataset folder (it has no {INFO_FILE}); {_next_step(folder)}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise DataError(
                f"{path} is of another version of mmil; make the dataset again with mmil preprocess"
            )
        return _from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise DataError(
            f"{path} is damaged; make the dataset again with mmil preprocess --overwrite"
        ) from fault


def partial_folder(folder: Path) -> Path:
    """Where an unfinished dataset is gathered: a hidden folder beside the finished one."""
    return folder.parent / f".{folder.name}.partial"


def _next_step(folder: Path) -> str:
    if partial_folder(folder.absolute()).is_dir():
        return "an unfinished one lies beside it: the same mmil preprocess command goes on where it stopped"
    return f"make one with: mmil preprocess SOURCE --out {folder}"


def _from_json(content: dict[str, Any]) -> DatasetInfo:
    counts = {split: SplitCounts(**entry) for split, entry in content.pop("counts").items()}
    shards = tuple(ShardInfo(**entry) for entry in content.pop("shards"))
    names = tuple(content.pop("label_names"))
    if not shards or content["encoding"] not in set(Encoding):
        raise ValueError
    return DatasetInfo(counts=counts, shards=shards, label_names=names, **content)
