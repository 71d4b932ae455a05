"""Rows of a dataset that its source, grown since, still has: they are taken over and not made again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmil_cli import __version__
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.info import DatasetInfo
from mmil_cli.data.manifest import STATE_BYTES, Manifest
from mmil_cli.data.shards import read_states
from mmil_cli.errors import UsageError, listing


class EarlierRows:
    """The rows of a dataset by the state of their record.

    Raises:
        UsageError: another version of mmil made it, or it has rows of records that are gone or have changed.
        DataError: it is damaged.
    """

    def __init__(self, folder: Path, info: DatasetInfo, manifest: Manifest, states: bytes) -> None:
        if info.versions["mmil"] != __version__:
            raise UsageError(
                f"{folder} was made by mmil {info.versions['mmil']}, and this is {__version__}; new records "
                "can be added by the same one only: make it anew with --overwrite"
            )
        self._dataset = StudyDataset.open(folder)
        self._dataset.verify()  # a damaged row would go on with a hash of its own, and be found by nobody
        earlier, kept = read_states(folder, info.source)
        has_row = np.frombuffer(kept, np.bool_)
        keys = _keys(earlier)[has_row]
        self._rows = np.argsort(keys)  # of each key in order
        self._sorted = keys[self._rows]
        self._refuse_other_labels(manifest)
        self._refuse_lost(keys, _keys(states))

    def __len__(self) -> int:
        return len(self._sorted)

    def has(self, states: bytes) -> NDArray[np.bool_]:
        """Of each record, whether it has a row and has not changed."""
        return np.asarray(np.isin(_keys(states), self._sorted))

    def row(self, state: bytes) -> dict[str, Any] | None:
        """The row of an unchanged record as `arrow_row` gave it; None for a new one."""
        key = _keys(state)
        place = int(np.searchsorted(self._sorted, key)[0])
        if place == len(self._sorted) or self._sorted[place] != key[0]:
            return None
        return self._dataset.values(int(self._rows[place]))

    def _refuse_other_labels(self, manifest: Manifest) -> None:
        before, now = self._dataset.label_names, manifest.label_names
        if before != now:
            told = [f"{listing(names)} {word}" for word, names in
                    (("new", _beyond(now, before)), ("gone", _beyond(before, now))) if names]  # fmt: skip
            raise UsageError(
                f"the labels of the source have changed since {self._dataset.folder} was made "
                f"({'; '.join(told) or 'their order'}); make it anew with --overwrite"
            )

    def _refuse_lost(self, keys: Any, now: Any) -> None:
        lost = np.flatnonzero(~np.isin(keys, now))
        if lost.size:
            ids = [self._dataset.values(int(row), ("image_id",))["image_id"] for row in lost[:4]]
            rest = f" and {lost.size - 4} more" if lost.size > 4 else ""
            raise UsageError(
                f"{lost.size} records of {self._dataset.folder} have changed since, or are gone from the "
                f"source ({', '.join(ids)}{rest}); but these are made anew only with "
                "--overwrite: give it, or bring the records back as they were"
            )


def _beyond(names: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in names if name not in others]


def _keys(states: bytes) -> Any:
    """States as items that sort and compare: 16 bytes each."""
    return np.frombuffer(states, f"V{STATE_BYTES}").view(f"S{STATE_BYTES}")
