"""One case after another, tried in a process of its own that may hang, crash or run out of memory."""

import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from mmil_cli.errors import MmilError
from mmil_cli.stages.fuzz.cases import Case, make_case

MOST_SECONDS = 10.0
"""Of the processor. A case that waits for something is ended after six times as long by the clock."""

_WAIT = 6 * MOST_SECONDS
_START = 300.0
MOST_MIB = 600.0
_ROOM_MIB = 3000
"""Address space beyond what the process has when it starts; far over `MOST_MIB`, to end what runs away."""

READY = "ready"
TAKEN, REJECTED, REFUSED, WRONG = "taken", "rejected", "refused", "wrong"


@dataclass(frozen=True)
class Trial:
    """How a case went.

    Attributes:
        kind, damage: of the case.
        outcome: TAKEN and found right, REJECTED with a reason, REFUSED (all of the source, in a sentence), or
            WRONG.
        reason: of the rejection.
        faults: what is wrong.
        mib: the most memory that the process ever held, so far.
    """

    number: int
    kind: str
    damage: str
    outcome: str
    reason: str = ""
    faults: tuple[str, ...] = ()
    seconds: float = 0.0
    mib: float = 0.0


class Tester:
    """Tries cases in a child process; one that ends before its case does is replaced."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mmil-fuzz-", ignore_cleanup_errors=True)
        self._pipe, theirs = self._context.Pipe()
        arguments = (theirs, self._seed, Path(self._folder.name))
        self._child = self._context.Process(target=serve, args=arguments, daemon=True)
        self._child.start()
        theirs.close()
        if not self._pipe.poll(_START) or self._pipe.recv() != READY:
            raise MmilError("the process that tries the cases does not start; is there memory for it?")

    def close(self) -> None:
        """End the process; what it was at work on goes with it."""
        self._child.kill()
        self._child.join()
        self._pipe.close()
        self._folder.cleanup()

    def try_case(self, number: int) -> Trial:
        """Try a case; a hang or a crash is its outcome."""
        self._pipe.send(number)
        seen: tuple[str, str] = ("", "")
        while True:
            if not self._pipe.poll(_WAIT):
                return self._lost(number, seen, f"it takes longer than {_WAIT:g} s")
            try:
                told = self._pipe.recv()
            except (EOFError, OSError):
                self._child.join()
                return self._lost(number, seen, f"its process ended with {self._child.exitcode}")
            if isinstance(told, Trial):
                if told.mib > MOST_MIB:
                    self.close()
                    self._start()
                return told
            seen = told

    def _lost(self, number: int, seen: tuple[str, str], fault: str) -> Trial:
        self.close()
        self._start()
        return Trial(number, *seen, WRONG, faults=(fault,), seconds=_WAIT)


def serve(pipe: Connection, seed: int, folder: Path) -> None:
    """Try every case whose number comes; told are its kind and damage first, the trial then."""
    _warm_up(seed, folder)
    _limit_memory()
    spoken = tempfile.TemporaryFile()  # noqa: SIM115 - for the life of the process
    for stream in (1, 2):
        os.dup2(spoken.fileno(), stream)
    pipe.send(READY)
    while True:
        try:
            number = pipe.recv()
        except (EOFError, OSError):
            return
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
            source = Path(name) / "source"
            source.mkdir()
            case = make_case(number, seed=seed, folder=source)
            pipe.send((case.kind, case.damage))
            pipe.send(try_here(case, Path(name) / "out", spoken.fileno()))


def _warm_up(seed: int, folder: Path) -> None:
    """Load what a case needs, so that no case pays for it."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        source = Path(name) / "source"
        source.mkdir()
        try_here(make_case(0, seed=seed, folder=source), Path(name) / "out")


def try_here(case: Case, out: Path, spoken: int | None = None) -> Trial:
    """Preprocess the source of a case in this process, and look at what comes out."""
    from mmil_cli.stages.fuzz.verdicts import read_made, reason_of, wrong
    from mmil_cli.stages.preprocess import run

    began = time.process_time()
    faults: list[str] = []
    outcome, reason = TAKEN, ""
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        try:
            run(case.source, out, source_options=case.options, side=64, max_rejected=0.9)
        except MmilError as refusal:
            outcome = REFUSED
            faults.extend(_wrong_refusal(case, str(refusal)))
        # As broad as can be: whatever exception comes that is no sentence is what the fuzzing looks for.
        except Exception as fault:  # noqa: BLE001
            faults.append(f"{type(fault).__name__}: {fault}"[:300])
    seconds = time.process_time() - began
    if seconds > MOST_SECONDS:
        faults.append(f"it takes {seconds:.0f} s")
    faults.extend(f"a warning: {remark.message}"[:300] for remark in remarks)
    faults.extend(_words(spoken))
    if outcome == TAKEN and not faults:
        made = read_made(out)
        reason = reason_of(case, made)
        outcome = REJECTED if reason else TAKEN
        faults.extend(wrong(case, made))
    _words(spoken)  # what the strict reading says counts for nothing
    mib = _peak_mib()
    if mib > MOST_MIB:
        faults.append(f"it takes {mib:.0f} MiB")
    return Trial(
        case.number, case.kind, case.damage, WRONG if faults else outcome, reason, tuple(faults), seconds, mib
    )


def _wrong_refusal(case: Case, sentence: str) -> list[str]:
    """A whole source may be refused for its table alone, and then the table is named."""
    if case.good:
        return [f"the whole source is refused: {sentence}"]
    if case.kind == "films":
        return [] if "cannot be used" in sentence or "no report" in sentence else [f"refused: {sentence}"]
    named = case.victim.name in sentence or str(case.victim) in sentence
    contradicts = (
        sentence.startswith(("image ids that occur", "patients in more")) or "cannot be used" in sentence
    )
    return [] if (named or contradicts) and "Traceback" not in sentence else [f"no name: {sentence}"]


def _words(spoken: int | None) -> list[str]:
    """What was written to standard output or error since the last call."""
    if spoken is None:
        return []
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    size = os.lseek(spoken, 0, os.SEEK_END)
    os.lseek(spoken, 0, os.SEEK_SET)
    text = os.read(spoken, 300).decode("utf-8", "replace")
    os.ftruncate(spoken, 0)
    os.lseek(spoken, 0, os.SEEK_SET)
    return [f"it speaks: {text}"] if size else []


def _limit_memory() -> None:
    """A bound on the address space, where the system knows one."""
    if sys.platform != "linux":
        return
    import resource

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = size + (_ROOM_MIB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _peak_mib() -> float:
    """The most memory that this process ever held; 0 where it cannot be told."""
    status = Path("/proc/self/status")  # getrusage would begin with what the parent held
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:")), 0.0)
