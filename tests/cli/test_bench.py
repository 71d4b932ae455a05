"""`mmil bench`: the command from end to end, its streams and its exit codes."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner


@pytest.fixture
def invoke():
    def run(*arguments):
        from mmil_cli.cli.app import app

        return CliRunner().invoke(app, list(map(str, arguments)))

    return run


def test_a_quick_run_shows_every_estimator_beside_the_truth(invoke, tmp_path):
    from mmil_cli.core.losses import ESTIMATES
    from mmil_cli.phantom.information import STUDIES

    outcome = invoke("bench", "mi", "--quick", "--out", tmp_path / "bench")
    assert outcome.exit_code == 0
    lines = outcome.stdout.splitlines()
    assert lines[-1] == f"written: {tmp_path / 'bench' / 'bench_mi.json'}"
    record = json.loads((tmp_path / "bench" / "bench_mi.json").read_text())
    assert {row["objective"] for row in record["pairs"]} == set(ESTIMATES)
    for name in ESTIMATES:  # two sizes of batch, two truths
        assert sum(line.split()[1:2] == [name] for line in lines) == 2 * len(record["size"]["truths"])
    for row in record["pairs"]:
        if row["objective"] == "infonce":
            assert any(f"  {row['ceiling']:.2f}  " in line for line in lines if " infonce " in line)
    for name in STUDIES:
        assert sum(line.startswith(name) for line in lines) == 1 + 2  # the truth, and two estimators
    total = record["size"]["num_seeds"] * (len(record["pairs"]) // 2 + 2 * 9 * len(STUDIES))
    assert f"{total} of {total} critics" in outcome.stderr
    assert "critics" not in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("bench", "mi", "--seed", "-1"), "--seed"),
        (("bench", "mi", "--quik"), "No such option"),
        (("bench", "im"), "No such command"),
    ],
)
def test_misuse_exits_with_two(invoke, arguments, sentence):
    outcome = invoke(*arguments)
    assert outcome.exit_code == 2
    assert sentence in outcome.stderr
    assert outcome.stdout == ""


def test_a_file_in_the_way_is_told_before_the_work(invoke, tmp_path):
    (tmp_path / "bench").write_text("mine")
    outcome = invoke("bench", "mi", "--quick", "--out", tmp_path / "bench")
    assert isinstance(outcome.exception, FileExistsError)
    assert "critics" not in outcome.output
    assert (tmp_path / "bench").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments", [("bench", "--help"), ("bench", "mi", "--help"), ("bench", "pretrain", "--help")]
)
def test_help_loads_nothing_heavy_and_shows_an_example(arguments):
    code = (
        "import sys\nfrom mmil_cli.cli import app\n"
        f"sys.argv = ['mmil', *{arguments!r}]\n"
        "try:\n    app.main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print(sorted({'torch', 'numpy', 'scipy'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    example = "mmil bench pretrain datasets/mine" if "pretrain" in arguments else "mmil bench mi --quick"
    assert example in " ".join(result.stdout.split())


def test_a_quick_run_of_the_engine_shows_every_comparison(invoke, tmp_path):
    reports = tmp_path / "reports.txt"
    sentences = ["No effusion.", "Left effusion.", "The heart is large.", "Lungs are clear."]
    lines = [f"FINDINGS: {sentences[n % 4]} {sentences[(n + 1) % 4]} Film of kind {n}." for n in range(20)]
    reports.write_text("\n".join(lines))
    outcome = invoke("bench", "engine", "--quick", "--reports", reports, "--out", tmp_path / "bench")
    assert outcome.exit_code == 0
    record = json.loads((tmp_path / "bench" / "bench_engine.json").read_text())
    once, *lots = record["rows"]
    assert once["work"] == "16 reports, 48 sentences, 20 distinct"
    assert [row["work"] for row in lots] == [f"ResNet-18 at 128 pixels, batch {size}" for size in (4, 8)]
    assert all(0 < row["low"] <= row["time"] <= row["high"] for row in record["rows"])
    assert all(row["work"] in outcome.stdout for row in record["rows"])
    assert record["provenance"]["command"] == "mmil bench engine --reports FILE --quick"


def test_reports_that_cannot_be_had_are_told(invoke, tmp_path):
    from mmil_cli.errors import DataError

    (tmp_path / "few.txt").write_text("No effusion.\n")
    for path, says in ((tmp_path / "few.txt", "has 1 reports, and 16 are wanted"),
                       (tmp_path / "none.txt", "cannot be read")):  # fmt: skip
        outcome = invoke("bench", "engine", "--quick", "--reports", path, "--out", tmp_path / "bench")
        assert isinstance(outcome.exception, DataError)
        assert says in str(outcome.exception)
