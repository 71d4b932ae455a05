"""The command line as a whole: help without torch, versions, exit codes."""

import json
import subprocess
import sys

import pytest

COMMANDS = ("preprocess", "audit", "pretrain", "probe", "retrieve", "ground", "compare", "embed", "export",
            "scores", "phantom", "subset", "report", "view", "study", "demo", "bench")  # fmt: skip
HEAVY = ("torch", "torchvision", "transformers", "numpy", "pyarrow", "pydicom", "matplotlib", "sklearn")

HELP = """
import json, sys
from mmil_cli.cli import app
sys.argv = ["mmil", *{arguments!r}]
try:
    app.main()
except SystemExit as stop:
    code = stop.code or 0
print(json.dumps({{"code": code, "loaded": sorted(set({heavy!r}) & set(sys.modules))}}))
"""


def run_in_a_new_process(*arguments):
    code = HELP.format(arguments=arguments, heavy=HEAVY)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("arguments", [("--help",), *((name, "--help") for name in COMMANDS)], ids=" ".join)
def test_help_loads_nothing_heavy(arguments):
    text, outcome = run_in_a_new_process(*arguments)
    assert outcome == {"code": 0, "loaded": []}
    assert "Usage" in text


def test_every_command_stands_in_the_help():
    text, _ = run_in_a_new_process("--help")
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command):
    text, _ = run_in_a_new_process(command, "--help")
    assert f"mmil {command}" in text.replace("Usage: mmil", "")


def test_the_version_is_that_of_the_package():
    from mmil_cli import __version__

    text, outcome = run_in_a_new_process("--version")
    assert text.startswith(f"mmil {__version__}")
    assert outcome["code"] == 0
