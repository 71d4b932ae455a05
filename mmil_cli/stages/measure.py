"""Time and memory of a piece of work beside another, in one process and in turns."""

import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

Work = Callable[[], object]

CLEAR_PEAK = Path("/proc/self/clear_refs")
MMAP_THRESHOLD = -3  # of mallopt: allocations of this size and more are given back when freed
STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One piece of work beside a reference.

    Attributes:
        seconds: median time of a run.
        reference_seconds: the same of the reference.
        time_ratio: median over rounds of time / time of the reference in the same round.
        time_low, time_high: smallest and largest of these.
        extra_bytes: memory at the peak beyond what was held before; None where it cannot be read.
        reference_bytes: the same of the reference.
    """

    seconds: float
    reference_seconds: float
    time_ratio: float
    time_low: float
    time_high: float
    extra_bytes: int | None
    reference_bytes: int | None

    @property
    def memory_ratio(self) -> float | None:
        """Extra memory / that of the reference."""
        if self.extra_bytes is None or not self.reference_bytes:
            return None
        return self.extra_bytes / self.reference_bytes


def compare(work: Work, reference: Work, *, rounds: int, device: torch.device) -> Comparison:
    """Runs both once to warm up, then in turns; what else the machine does meets both alike."""
    extra = peak_memory(work, device)
    of_reference = peak_memory(reference, device)
    times = [(seconds(work, device), seconds(reference, device)) for _ in range(rounds)]
    ratios = [mine / other for mine, other in times]
    return Comparison(
        seconds=statistics.median(mine for mine, _ in times),
        reference_seconds=statistics.median(other for _, other in times),
        time_ratio=statistics.median(ratios),
        time_low=min(ratios),
        time_high=max(ratios),
        extra_bytes=extra,
        reference_bytes=of_reference,
    )


def seconds(work: Work, device: torch.device) -> float:
    """Wall time of a run."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def peak_memory(work: Work, device: torch.device) -> int | None:
    """Bytes held at the peak of a run beyond what was held before it; what it returns counts.

    On a CPU by the resident set of the process, whose peak Linux can set back; None elsewhere.
    """
    work()  # caches of the library are filled once, whoever comes first
    return memory_of_one_run(work, device)


def memory_of_one_run(work: Work, device: torch.device) -> int | None:
    """As `peak_memory`, of one run that nothing was warmed up for."""
    gc.collect()
    if device.type == "cuda":
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        _wait(device)
        return torch.cuda.max_memory_allocated(device) - before
    if not _can_read_peak():
        return None
    with _freed_at_once():
        CLEAR_PEAK.write_text("5")
        before = _status("VmRSS")
        work()
        return max(0, _status("VmHWM") - before)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _can_read_peak() -> bool:
    return sys.platform == "linux" and CLEAR_PEAK.exists()


@contextmanager
def _freed_at_once() -> Iterator[None]:
    """While it lasts, glibc gives back freed memory: what it would keep hides what the next run takes."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_THRESHOLD, 2**16)
        library.malloc_trim(0)
    yield
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_THRESHOLD, 2**25)  # the largest, to which glibc's own one grows


def _status(name: str) -> int:
    """A number of bytes from the status of this process."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)
