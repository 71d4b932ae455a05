"""Work in processes that may die, in order and without losing the rest."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from mmil_cli.errors import MmilError
from mmil_cli.stages import workers
from mmil_cli.stages.workers import Inline, Processes, in_order

pytestmark = pytest.mark.usefixtures("time_limit")

DEADLY = (3, 4, 11)


def square(item: int) -> int:
    return item * item


def square_or_die(item: int) -> int:
    if item in DEADLY:
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(0.01 * (item % 3))  # so that they end out of order
    return item * item


def never(item: int) -> None:
    return None


def outcomes(pool: workers.Workers, work, items=range(16), ready=never) -> list[int]:
    with pool:
        return list(in_order(pool, work, items, ready=ready, crashed=lambda item: -item))


@pytest.mark.parametrize("number", [1, 3])
def test_an_item_that_ends_its_process_is_found_and_the_rest_goes_on(number: int) -> None:
    expected = [-item if item in DEADLY else item * item for item in range(16)]
    assert outcomes(Processes(number), square_or_die) == expected


def test_what_is_ready_is_not_worked_on() -> None:
    def ready(item: int) -> int | None:
        return 1000 if item in DEADLY else None

    found = outcomes(Inline(), square_or_die, ready=ready)
    assert found == [1000 if item in DEADLY else item * item for item in range(16)]


def test_no_more_than_asked_is_read_ahead() -> None:
    read = []

    def items():
        for item in range(40):
            read.append(item)
            yield item

    pool = Processes(1)
    with pool:
        found = in_order(pool, square, items(), ready=never, crashed=never)
        assert next(found) == 0
        assert len(read) <= pool.ahead + 1


def test_an_exception_of_the_work_is_no_crash() -> None:
    with pytest.raises(TypeError):
        outcomes(Processes(1), square, items=[2, "x"])


def test_processes_that_cannot_even_start_are_told_and_blamed_on_nobody(monkeypatch) -> None:
    monkeypatch.setattr(workers, "_begin", os.abort)
    with pytest.raises(MmilError, match="end as soon as they start"):
        outcomes(Processes(1), square)


def test_a_long_folder_for_temporary_files_is_no_hindrance(tmp_path, monkeypatch) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setattr(workers.tempfile, "tempdir", str(folder))
    assert workers._context().get_start_method() == "spawn"
    assert outcomes(Processes(1), square, items=range(3)) == [0, 1, 4]


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="no such server here")
def test_an_owner_that_is_killed_leaves_nothing_behind() -> None:
    """Not in the folder of the test: the name of a socket must be short."""
    script = (
        "import os, signal\n"
        "from mmil_cli.stages.workers import Processes\n"
        "if __name__ == '__main__':\n"
        "    Processes(1).submit(abs, 1).result()\n"
        "    assert len(os.listdir(os.environ['TMPDIR'])) == 1\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with tempfile.TemporaryDirectory(prefix="t-", dir=os.environ.get("TMPDIR", "/tmp")) as folder:
        environment = {**os.environ, "TMPDIR": folder}
        ended = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, check=False
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        while any(Path(folder).iterdir()):
            time.sleep(0.05)
