"""Every fault that a user can mend, as one tree of exceptions."""

import difflib
from collections.abc import Iterable, Sequence


class MmilError(Exception):
    """A failure the user can act on: says what is wrong, where, what is allowed, and the next step."""

    exit_code = 1


class UsageError(MmilError):
    """The command, an option or a recipe asks for something that cannot be; nothing was started."""

    exit_code = 2


class DataError(MmilError):
    """An input file or dataset is missing, unreadable or contradicts itself."""


class RejectedRecord(DataError):
    """One record of many cannot be used; it is counted with its reason code, the rest goes on."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class CheckpointError(MmilError):
    """A checkpoint folder is incomplete or does not fit the model it is loaded into."""


class Interrupted(MmilError):
    """The user or the system has ended the command; what it had done by then is saved."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NotFinite(MmilError):
    """A step of training came to numbers that are not finite; the model is as it was before the step.

    Attributes:
        step: the step, from 1.
    """

    def __init__(self, message: str, *, step: int) -> None:
        super().__init__(message)
        self.step = step


class AlreadyTold(MmilError):
    """What ended this process of a job is told by another one; nothing is to be said again."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause such as `; did you mean 'lse'?`, or nothing when no known name is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {str(matches[0])!r}?" if matches else ""


def listing(items: Sequence[str], most: int = 8) -> str:
    """`a, b, c and 4 more`: a list short enough for one sentence."""
    shown = ", ".join(items[:most])
    rest = len(items) - most
    return f"{shown} and {rest} more" if rest > 0 else shown


def shortened(text: str, most: int = 100) -> str:
    """A text on one line, at most `most` characters long."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
