"""Memory at the peak of this process after a piece of work; run in a process of its own, without torch."""

import sys
from pathlib import Path

from mmil_cli.data.convert import Example
from mmil_cli.data.manifest import Record
from mmil_cli.data.pixels import DEFAULT_ENCODING
from mmil_cli.stages import preprocess
from mmil_cli.stages.conversion import Conversion

STATUS = Path("/proc/self/status")


def peak_of_films(root: Path, *films: Path) -> int | None:
    """Bytes after converting films as a worker does."""
    work = Conversion(root, (), 512, DEFAULT_ENCODING, label_reports=False)
    for film in films:
        outcome, _ = work((Record(film, film.stem, film.stem, film.stem, "train", report="Effusion."), b""))
        assert isinstance(outcome, Example)
    return _peak()


def peak_of_run(table: Path, out: Path) -> int | None:
    """Bytes after preprocessing a table in this process."""
    preprocess.run(table, out)
    return _peak()


def _peak() -> int | None:
    """The largest resident set of this process, bytes; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
