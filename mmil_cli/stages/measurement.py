"""How long an evaluation took, beside what is wanted."""

from dataclasses import dataclass


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
