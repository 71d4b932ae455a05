"""Ctrl-C and SIGTERM: a wish that is granted between two steps, so that what was done can be saved."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from mmil_cli.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "told to stop"}


class StopNow(KeyboardInterrupt):
    """A stop asked for where it may be granted at once."""


class StopSignals:
    """While it is entered, the first SIGINT or SIGTERM is remembered and a second one ends the process.

    Only in the main thread; elsewhere signals are left to whoever has them.

    Args:
        hears_second: whether the second does; of a job of several processes each is told more than once.

    Attributes:
        wanted: the signal that has come; 0 while none has.
    """

    def __init__(self, *, hears_second: bool = True) -> None:
        self.hears_second = hears_second
        self.wanted = 0
        self._grants_at_once = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within it nothing is lost: a signal raises `StopNow` there and then."""
        self._grants_at_once = True
        try:
            yield
        finally:
            self._grants_at_once = False

    def stopped(self, *, step: int, num_steps: int) -> Interrupted:
        """What to raise once the step is saved."""
        number = signal.Signals(self.wanted or signal.SIGTERM)
        return Interrupted(
            f"{WORDS[number]} after step {step} of {num_steps}, which is saved; "
            "give the same command again to go on from there",
            exit_code=128 + number,
        )

    def _hear(self, number: int, _: FrameType | None) -> None:
        is_first = not self.wanted
        self.wanted = self.wanted or number
        if is_first and self._grants_at_once:
            raise StopNow
        if not is_first and self.hears_second:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
