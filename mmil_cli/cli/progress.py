"""Progress of long work on standard error: rich bars in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from mmil_cli.stages import pretrain

SECONDS_BETWEEN_LINES = 10.0


class CountProgress:
    """A bar for work that is counted, fed through `update(done, total)`.

    Args:
        name: what is being done.
        unit: of what is counted, such as films.
    """

    def __init__(self, name: str, unit: str) -> None:
        self.name = name
        self.unit = unit
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task(name, total=None, note="")
        self.started = time.monotonic()
        self.first: int | None = None
        self.last_line = self.started

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def update(self, done: int, total: int, note: str = "", beside: str = "") -> None:
        """Tells how far the work is; `note` takes the place of the rate, `beside` is told after it."""
        if self.first is None:
            self.first, self.started = done, time.monotonic()
        rate = (done - self.first) / max(time.monotonic() - self.started, 1e-9)
        note = note or (f"{rate:.1f} {self.unit}/s" if done > self.first else "")
        note = ", ".join(filter(None, (note, beside)))
        self.bar.update(self.task, completed=done, total=total, note=note)
        if not self.console.is_terminal and self._line_is_due(done, total):
            left = f", {(total - done) / rate:.0f} s left" if rate > 0 else ""
            told = f", {note}{left}" if note else ""
            sys.stderr.write(f"{self.name}: {done} of {total} {self.unit}{told}\n")

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self.console.is_terminal:
            self.bar.console.print(text, markup=False, highlight=False)
        else:
            sys.stderr.write(text + "\n")

    def _line_is_due(self, done: int, total: int) -> bool:
        now = time.monotonic()
        due = now - self.last_line >= SECONDS_BETWEEN_LINES or done == total
        if due:
            self.last_line = now
        return due


class TrainingProgress(CountProgress):
    """The bar of `mmil pretrain`, with a line for each validation."""

    def __init__(self) -> None:
        super().__init__("pretrain", "steps")

    def watchers(self) -> "pretrain.Watchers":
        """The callbacks that feed it."""
        from mmil_cli.stages.pretrain import Watchers

        return Watchers(on_step=self._step, on_validation=self._validation, on_note=self.say)

    def _step(self, progress: "pretrain.Progress") -> None:
        note = f"loss {progress.loss:.3f}, {progress.films_per_second:.0f} films/s"
        self.update(progress.step, progress.num_steps, note)

    def _validation(self, entry: dict[str, Any]) -> None:
        numbers = ", ".join(
            f"{key} {value:.3f}" for key, value in entry.items() if key not in ("kind", "step")
        )
        self.say(f"step {entry['step']}: {numbers}")


class StageProgress:
    """One bar after another, for work of several stages; a stage's bar ends when the next one starts."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._shown: tuple[str, str] | None = None
        self._update: Callable[[int, int], None] = lambda _done, _total: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def switching(self, name: str, unit: str) -> Callable[[int, int], None]:
        """What progress in this unit is told to; its bar begins whenever that was not told of last."""

        def update(done: int, total: int) -> None:
            if self._shown != (name, unit):
                self._shown, self._update = (name, unit), self.start(name, unit)
            self._update(done, total)

        return update

    def start(self, name: str, unit: str) -> Callable[[int, int], None]:
        """Begins a stage and returns what its progress is told to."""
        self._stack.close()
        return self._stack.enter_context(CountProgress(name, unit)).update
