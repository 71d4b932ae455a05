"""The records of a source with their states, and the work on one of them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmil_cli.data.convert import Example, Rejection, convert
from mmil_cli.data.encoding import Encoding
from mmil_cli.data.manifest import STATE_BYTES, Manifest, Record, RecordReason, record_state, record_states
from mmil_cli.data.on_disk import since

Outcome = tuple[Example | Rejection | dict[str, Any], bytes]
"""What became of a record (or its row, where a dataset has it already), and the record's state when read."""

_READINGS = 3
_NO_STATE = bytes(STATE_BYTES)
"""Of a record that would not keep still: it never has this state, so that the next run reads it again."""


@dataclass(frozen=True)
class Listed:
    """The records of a source and the state of each."""

    manifest: Manifest
    states: bytes

    @classmethod
    def of(cls, manifest: Manifest) -> "Listed":
        """Look at the files of every record."""
        return cls(manifest, record_states(manifest))

    def __len__(self) -> int:
        return len(self.states) // STATE_BYTES

    def since(self, start: int) -> Iterator[tuple[Record, bytes]]:
        """Records and states from one on."""
        for number, record in enumerate(since(self.manifest.records, start), start=start):
            yield record, self.states[number * STATE_BYTES : (number + 1) * STATE_BYTES]


@dataclass(frozen=True)
class Conversion:
    """The work on one record, without any Arrow; pickled, it goes to the workers."""

    root: Path
    label_names: tuple[str, ...]
    side: int
    encoding: Encoding
    label_reports: bool
    keep_burned_in: bool = False

    def __call__(self, item: tuple[Record, bytes]) -> Outcome:
        """Convert a record, again if its files were written to meanwhile."""
        record, _ = item
        before = self._state(record)
        for _ in range(_READINGS):
            outcome = convert(
                record,
                side=self.side,
                encoding=self.encoding,
                label_reports=self.label_reports,
                keep_burned_in=self.keep_burned_in,
            )
            after = self._state(record)
            if after == before:
                return outcome, after
            before = after
        return Rejection(record, RecordReason.CHANGING, "is written to while it is read"), _NO_STATE

    def crashed(self, item: tuple[Record, bytes]) -> Outcome:
        """The outcome of a record that ends the process that reads it."""
        record, state = item
        name = record.image.name if record.image else "the record"
        detail = f"{name} ends the process that reads it: a crash of an image library, or no memory for it"
        return Rejection(record, RecordReason.CRASHED, detail), state

    def _state(self, record: Record) -> bytes:
        return record_state(record, root=self.root, label_names=self.label_names)


@dataclass(frozen=True)
class Sampled:
    """A film that was read.

    Attributes:
        outcome: as of `Conversion`.
        seconds: that it took.
    """

    outcome: Example | Rejection
    seconds: float


@dataclass(frozen=True)
class Timed:
    """A conversion with its time; pickled, it goes to the worker."""

    work: Conversion

    def __call__(self, record: Record) -> Sampled:
        """Convert a record."""
        started = time.perf_counter()
        outcome, _ = self.work((record, _NO_STATE))
        assert isinstance(outcome, Example | Rejection)
        return Sampled(outcome, time.perf_counter() - started)

    def crashed(self, record: Record) -> Sampled:
        """The outcome of a record that ends the process that reads it."""
        outcome, _ = self.work.crashed((record, _NO_STATE))
        assert isinstance(outcome, Rejection)
        return Sampled(outcome, 0.0)
