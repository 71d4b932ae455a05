"""The workers of a Dask cluster in the place of local processes."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, Self, TypeVar

from mmil_cli import __version__
from mmil_cli.errors import MmilError, UsageError, listing
from mmil_cli.stages.workers import IN_FLIGHT, TRIES, Crashed

S = TypeVar("S")
T = TypeVar("T")

CONNECT_SECONDS = 10
SECONDS_BETWEEN_LOOKS = 30
LOOKS = 3
"""So many times in a row the cluster may be without workers, which start again by themselves."""


class _Handed(Future[T]):
    """A future of the cluster that is not waited for when nobody is there to work on it."""

    def __init__(self, client: Any, future: Any) -> None:
        super().__init__()
        self._client, self._future = client, future

    def result(self, timeout: float | None = None) -> T:
        """The outcome, however long it takes.

        Raises:
            MmilError: the scheduler is gone, or has been without workers for some time.
        """
        lonely = 0
        while lonely < LOOKS:
            try:
                outcome: T = self._future.result(timeout=timeout or SECONDS_BETWEEN_LOOKS)
            except TimeoutError:
                lonely = 0 if self._client.nthreads() else lonely + 1
            except (CancelledError, asyncio.CancelledError) as loss:
                raise _gone("scheduler of the cluster is gone") from loss
            else:
                return outcome
        raise _gone("cluster has no worker left")

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the work raised, or the loss of its worker."""
        try:
            self.result(timeout)
        except MmilError:
            raise
        # As broad as can be: `Future.exception` gives whatever the work raised, and nothing of it is lost.
        except Exception as fault:  # noqa: BLE001
            return fault
        return None


def _gone(what: str) -> MmilError:
    return MmilError(
        f"the {what}; finished shards are kept: start it again, and the same command goes on from them"
    )


class DaskWorkers:
    """A client of a Dask scheduler, whose workers see the same files under the same names.

    Args:
        address: of the scheduler, such as `tcp://node1:8786`.
        root: the folder of the source, which every worker must see.

    Raises:
        UsageError: the extra `distributed` is not installed, no scheduler is at the address, it has no
            worker, or a worker has another mmil or not the files.
    """

    losses: tuple[type[Exception], ...]

    def __init__(self, address: str, root: Path) -> None:
        try:
            from distributed import Client, KilledWorker
        except ImportError as fault:
            raise UsageError("--executor dask needs Dask: pip install 'mmil[distributed]'") from fault
        self.losses = (KilledWorker,)
        try:
            self._client: Any = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as fault:
            raise UsageError(
                f"--scheduler: no Dask scheduler answers at {address} within {CONNECT_SECONDS} s; start one "
                "with `dask scheduler` and workers with `dask worker ADDRESS`"
            ) from fault
        try:
            self.ahead = IN_FLIGHT * self._num_threads(root)
        except MmilError:
            self._client.close()
            raise

    def submit(self, work: Callable[[S], T], item: S) -> Future[T]:
        """Hand it to the cluster; a worker that is lost has its items done by others."""
        return _Handed(self._client, self._client.submit(work, item, pure=False))

    def alone(self, work: Callable[[S], T], item: S) -> T:
        """Do it while nothing else is under way.

        Raises:
            Crashed: the workers that tried were lost.
        """
        for _ in range(TRIES):
            try:
                return self.submit(work, item).result()
            except self.losses:
                continue
        raise Crashed

    def renew(self) -> None:
        """The scheduler has workers begin again by itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def _num_threads(self, root: Path) -> int:
        """Threads of all workers, which are asked what they see."""
        self._client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        seen: dict[str, tuple[str, bool]] = self._client.run(_look, str(root))
        others = sorted({version for version, _ in seen.values()} - {__version__})
        if others:
            raise UsageError(
                f"workers of the cluster have mmil {listing(others)}, and this is {__version__}; "
                "install the same everywhere"
            )
        blind = [worker for worker, (_, sees) in seen.items() if not sees]
        if blind:
            raise UsageError(
                f"{len(blind)} workers of the cluster ({listing(blind, 3)}) do not see {root}; "
                "the source must lie on a disk that all of them have under the same name"
            )
        return sum(self._client.nthreads().values())


def _look(root: str) -> tuple[str, bool]:
    return __version__, os.path.exists(root)  # noqa: PTH110
