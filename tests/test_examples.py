"""The examples run by the command of their header, on a few generated studies."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = {path.stem: path for path in sorted((ROOT / "examples").glob("*.py"))}
TINY = (
    "data.batch_size=8",
    "data.workers=0",
    "image.size=32",
    "image.widths=[4, 8]",
    "text.width=16",
    "text.layers=1",
    "text.heads=2",
    "projection.dim=8",
    "optim.epochs=1",
)


def headers(example):
    """The commands of its header, without the interpreter."""
    lines = re.findall(r"^    \.venv/bin/python (examples/\S+\.py.*)$", example.read_text(), re.MULTILINE)
    return [shlex.split(line) for line in lines]


def run_example(example, arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(example), *arguments])
    runpy.run_path(str(example), run_name="__main__")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Arguments that make an example small; it works in a folder of its own, all warnings errors."""
    monkeypatch.chdir(tmp_path)
    overrides = [part for override in TINY for part in ("--set", override)]
    return ["--studies", "40", *overrides]


def test_there_are_the_examples_that_the_readme_names():
    named = set(re.findall(r"\(examples/(\w+)\.py\)", (ROOT / "README.md").read_text()))
    assert named == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_runs_by_the_first_command_of_its_header(name, tiny, tmp_path, monkeypatch, capsys):
    script, *arguments = headers(EXAMPLES[name])[0]
    assert ROOT / script == EXAMPLES[name]
    run_example(EXAMPLES[name], [*arguments, *tiny], monkeypatch)
    printed = capsys.readouterr().out
    out = tmp_path / "runs" / "examples" / name
    assert (out / "run" / "checkpoint" / "model.safetensors").is_file()
    assert (out / "dataset" / "dataset.json").is_file()
    if name == "python_calls":
        assert "regions of each film [B, N, D]: (4, 16, 8) on a grid (4, 4)" in printed
        assert re.search(
            r"^map of a phrase over the pixels of the film .*: \(\d+, \d+\)$", printed, re.MULTILINE
        )
    else:
        assert list((out / "results").glob("*.png"))
        assert re.findall(r"^\$ mmil (\w+)", printed, re.MULTILINE) == COMMANDS[name]


COMMANDS = {
    "own_table": ["phantom", "preprocess", "pretrain", "probe", "retrieve", "ground"],
    "folder_of_dicoms": ["phantom", "preprocess", "pretrain", "retrieve", "ground"],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_says_what_it_shows(name, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run_example(EXAMPLES[name], ["--help"], monkeypatch)
    assert ended.value.code == 0
    assert headers(EXAMPLES[name])[0][0] in capsys.readouterr().out


def test_own_table_ends_with_the_sentence_of_a_failing_command(tiny, tmp_path, monkeypatch):
    table = tmp_path / "films.csv"
    table.write_text("image,note\na.png,Clear.\n")
    with pytest.raises(SystemExit, match=r"own_table: films.csv has no column 'report'.*it has: image, note"):
        run_example(EXAMPLES["own_table"], ["--table", str(table), *tiny], monkeypatch)


def test_folder_of_dicoms_says_which_names_it_cannot_read(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "film.dcm").write_bytes(b"")
    with pytest.raises(SystemExit, match="no film of films is named as --name says"):
        run_example(EXAMPLES["folder_of_dicoms"], ["films", *tiny], monkeypatch)
    assert "1 films are not named as --name says" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run_example(EXAMPLES["folder_of_dicoms"], tiny, monkeypatch)
    assert "give the folder of your films, or --generate" in capsys.readouterr().err
