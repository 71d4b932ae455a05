"""Processes that work on one item after another; an item that ends its process is found, the rest goes on."""

import multiprocessing
import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import connection, util
from multiprocessing.context import BaseContext
from typing import Protocol, Self, TypeVar

from mmil_cli.errors import MmilError

FORK_SERVER, FOLDER = "mmil_cli.stages.fork_server", "MMIL_FORK_SERVER_FOLDER"
"""The module that tidies up after this process, and the variable in which it is told which folder."""

S = TypeVar("S")
T = TypeVar("T")

IN_FLIGHT = 8
"""Items handed out ahead for each worker: it stays busy past a slow one, and memory stays flat."""

TRIES = 2
"""How often an item may end a process that has nothing else to do before it is to blame for it."""


_LONGEST_FOLDER = 70
"""Bytes of the folder for temporary files that leave room for the name of a socket in it, which has 107."""


class Crashed(Exception):
    """An item ended the process that worked on it, each time."""


class Workers(Protocol):
    """What runs the work.

    Attributes:
        ahead: most items handed out at a time.
        losses: what a future raises whose worker was lost; whether its item is to blame is open.
    """

    ahead: int
    losses: tuple[type[Exception], ...]

    def submit(self, work: Callable[[S], T], item: S) -> Future[T]:
        """Begin the work on an item."""

    def alone(self, work: Callable[[S], T], item: S) -> T:
        """Do it where nothing else is done, so that who crashes is to blame; raises `Crashed`."""

    def renew(self) -> None:
        """Be ready for new work after a loss."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...


def in_order(
    workers: Workers,
    work: Callable[[S], T],
    items: Iterable[S],
    *,
    ready: Callable[[S], T | None],
    crashed: Callable[[S], T],
) -> Iterator[T]:
    """Outcomes in the order of the items, with never more than `workers.ahead` of them waiting.

    When a worker is lost, all that was under way and has no outcome is done again, one item at a time.

    Args:
        workers: what runs `work`.
        work: done on each item.
        items: read lazily.
        ready: the outcome of an item that needs no work; None for others.
        crashed: the outcome of an item that crashes.
    """
    remaining = iter(items)
    waiting: deque[tuple[S, Future[T]]] = deque()

    def hand_out(most: int) -> None:
        for item in islice(remaining, most):
            outcome = ready(item)
            future = workers.submit(work, item) if outcome is None else finished(outcome)
            waiting.append((item, future))

    hand_out(workers.ahead)
    while waiting:
        try:
            outcome = waiting[0][1].result()
        except workers.losses:
            workers.renew()
            waiting = deque((item, _again(workers, work, item, future, crashed)) for item, future in waiting)
            continue
        waiting.popleft()
        hand_out(1)
        yield outcome


def _again(
    workers: Workers, work: Callable[[S], T], item: S, future: Future[T], crashed: Callable[[S], T]
) -> Future[T]:
    """The future itself if its worker was not lost, else one with the outcome of a work done alone."""
    if not future.cancelled() and not isinstance(future.exception(), workers.losses):
        return future
    try:
        return finished(workers.alone(work, item))
    except Crashed:
        return finished(crashed(item))


def finished(outcome: T) -> Future[T]:
    """A future that has its outcome already."""
    future: Future[T] = Future()
    future.set_result(outcome)
    return future


class Inline:
    """Works at once, in this process, which an item that crashes ends."""

    ahead = 1
    losses: tuple[type[Exception], ...] = ()

    def submit(self, work: Callable[[S], T], item: S) -> Future[T]:
        """Do it; an exception passes through."""
        return finished(work(item))

    def alone(self, work: Callable[[S], T], item: S) -> T:
        """Do it."""
        return work(item)

    def renew(self) -> None:
        """Nothing is ever lost."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class Processes:
    """A pool of processes on this machine, begun when they are needed."""

    losses: tuple[type[Exception], ...] = (BrokenProcessPool,)

    def __init__(self, number: int) -> None:
        self.ahead = IN_FLIGHT * number
        self._number = number
        self._pool: ProcessPoolExecutor | None = None
        self._single: ProcessPoolExecutor | None = None

    def submit(self, work: Callable[[S], T], item: S) -> Future[T]:
        """Hand it to the next process that is free."""
        self._pool = self._pool or _pool(self._number)
        try:
            return self._pool.submit(work, item)
        except BrokenProcessPool as loss:
            future: Future[T] = Future()
            future.set_exception(loss)
            return future

    def alone(self, work: Callable[[S], T], item: S) -> T:
        """Do it in a process of its own, twice if that ends.

        Raises:
            Crashed: the process ended each time.
            MmilError: processes end before they have anything to do.
        """
        for _ in range(TRIES):
            single = self._single = self._single or _checked(_pool(1))
            try:
                return single.submit(work, item).result()
            except BrokenProcessPool:
                self._single = None
                single.shutdown()
        raise Crashed

    def renew(self) -> None:
        """Let go of the processes; the next item begins others."""
        for pool in filter(None, (self._pool, self._single)):
            pool.shutdown(cancel_futures=True)
        self._pool = self._single = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.renew()


def _pool(number: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(number, mp_context=_context(), initializer=_begin)


def _context() -> BaseContext:
    """Starts processes as copies of one that has done nothing but import, or anew where there is no such.

    Never as copies of this one: those would have the locks that threads of the image libraries hold.
    """
    has_server = "forkserver" in multiprocessing.get_all_start_methods()
    if not has_server or len(os.fsencode(tempfile.gettempdir())) > _LONGEST_FOLDER:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    os.environ[FOLDER] = util.get_temp_dir()
    context.set_forkserver_preload([FORK_SERVER])
    return context


def _checked(pool: ProcessPoolExecutor) -> ProcessPoolExecutor:
    """The pool, after it has done something that ends no process."""
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as loss:
        raise MmilError(
            "worker processes end as soon as they start; memory may be short, or a script that calls mmil "
            'lacks its `if __name__ == "__main__":`'
        ) from loss
    return pool


def _begin() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the owner; end when the owner does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    owner = multiprocessing.parent_process()
    assert owner is not None
    threading.Thread(target=_end_with, args=(owner.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
