"""The README keeps its word: its numbers are the stored ones, its commands run, its links lead somewhere."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from readme_results import BLOCK, README, ROOT, with_results

TINY = (
    "data.batch_size=8",
    "data.workers=0",
    "image.size=32",
    "image.widths=[4, 8]",
    "optim.epochs=1",
    "text.width=16",
)


def commands():
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def test_the_numbers_are_those_of_the_stored_results():
    text = README.read_text()
    assert BLOCK.search(text)
    assert with_results(text) == text


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README.read_text()):
        assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's reader has: studies, a film, a report, and a table of phrases."""
    from mmil_cli.stages import phantom

    folder = tmp_path_factory.mktemp("readme")
    phantom.run(folder / "studies", studies=40, side=64, workers=1)
    shutil.copy(next((folder / "studies").glob("files/*/*/*/*.dcm")), folder / "film.dcm")
    shutil.copy(next((folder / "studies").glob("ms-cxr*/*.csv")), folder / "phrases.csv")
    shutil.copy(next((folder / "studies").glob("files/*/*/*.txt")), folder / "report.txt")
    return folder


def test_every_command_runs(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from mmil_cli.cli.app import app

    monkeypatch.chdir(workplace)
    for line in commands():
        program, *arguments = shlex.split(line)
        assert program == "mmil", line
        if arguments[0] == "pretrain":
            arguments += [part for override in TINY for part in ("--set", override)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"


CONTRACT = """
def pytest_configure():
    from mmil_cli.core.aggregators import AGGREGATORS
    from median import Median

    AGGREGATORS["median"] = Median
"""


def test_the_aggregator_of_the_readme_passes_the_contract_by_being_registered(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "median.py").write_text(block)
    (tmp_path / "register.py").write_text(CONTRACT)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/core/test_aggregators.py", "-k", "median and not slow_truth",
         "-q", "-n0", "-p", "register", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
    passed = int(re.search(r"(\d+) passed", result.stdout)[1])
    assert passed >= 20
