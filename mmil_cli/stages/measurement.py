"""What a bench measured, beside what is wanted."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Comparisons(Generic[Row]):
    """All comparisons of a run.

    Attributes:
        rows: one a comparison.
        provenance: what the figures depend on, the processor too.
        record: the JSON file that holds all of this.
    """

    rows: tuple[Row, ...]
    provenance: Mapping[str, Any]
    record: Path


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """How long something took.

    Attributes:
        name: what was done.
        size: of its inputs, in words.
        seconds: wall time.
        most_seconds: that are wanted at this size on two cores; None where it is another size.
        found: a figure that shows that it was done.
    """

    name: str
    size: str
    seconds: float
    most_seconds: float | None
    found: str

    @property
    def holds(self) -> bool:
        """Whether it was as fast as wanted."""
        return self.most_seconds is None or self.seconds <= self.most_seconds
