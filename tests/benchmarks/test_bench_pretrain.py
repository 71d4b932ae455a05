"""`mmil bench pretrain`: its works compute what they say, and what it recommends follows from its trials."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stages"))  # for the tiny studies

TINY = (
    "data.batch_size=8",
    "data.workers=0",
    "image.size=32",
    "image.widths=[4, 8]",
    "text.width=8",
    "text.heads=2",
    "text.layers=1",
    "text.dropout=0",
    "projection.dim=8",
    "run.precision=fp32",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    import tiny_studies

    from mmil_cli.stages import preprocess

    folder = tmp_path_factory.mktemp("bench")
    (folder / "films").mkdir()
    preprocess.run(tiny_studies.write_table(folder / "films"), folder / "data", side=32)
    return folder / "data"


@pytest.fixture(scope="module")
def recipe():
    from mmil_cli.config.load import load_recipe

    return load_recipe(None, overrides=TINY)


@pytest.fixture(scope="module")
def outcome(dataset, recipe, tmp_path_factory):
    from mmil_cli.stages.bench_pretrain import run

    told = []
    out = tmp_path_factory.mktemp("results")
    result = run(
        dataset, out, recipe=recipe, quick=True, device="cpu", on_progress=lambda *done: told.append(done)
    )
    return result, told


def test_a_quick_run_writes_every_trial_and_ratio(outcome):
    from mmil_cli.runtime import has_fast_bfloat16
    from mmil_cli.stages.bench_step import COMPARISONS

    result, told = outcome
    record = json.loads(result.record.read_text())
    assert told[-1][0] == told[-1][1] == len(told)
    assert record["provenance"]["processor"]
    assert "--set image.size=32" in record["provenance"]["command"]
    assert {2, 4, 8, 16} <= {trial["batch_size"] for trial in record["trials"]}
    assert {trial["workers"] for trial in record["trials"]} >= {0, 1}
    for trial in record["trials"]:
        assert trial["fits"]
        assert trial["steps"] >= 1
        assert trial["films_per_second"] > 0
        assert 0 <= trial["waiting"] < 1
    assert len(record["rows"]) == len(COMPARISONS) - (not has_fast_bfloat16(torch.device("cpu")))
    for row in record["rows"]:
        measured = row["measured"]
        assert measured["time_low"] <= measured["time_ratio"] <= measured["time_high"]
        assert row["holds"] == (measured["time_ratio"] <= row["most_time"])


def test_what_it_recommends_is_a_recipe_that_trains(outcome, dataset, tmp_path):
    from mmil_cli.config.load import load_recipe
    from mmil_cli.stages import pretrain

    options = outcome[0].recommendation.options
    assert [option.split("=")[0] for option in options] == [
        "data.batch_size",
        "data.workers",
        "run.precision",
    ]
    recipe = load_recipe(None, overrides=[*TINY, *options, "optim.epochs=1"])
    assert pretrain.run(dataset, tmp_path / "run", recipe=recipe, device="cpu").num_steps >= 8


def trial(**values):
    from mmil_cli.stages.trial import Trial

    common = {"batch_size": 8, "chunk": 0, "workers": 0, "precision": "bf16", "steps": 8}
    return Trial(**{**common, "films_per_second": 10.0, "waiting": 0.1, "memory": 1, **values})


@pytest.mark.parametrize(
    ("others", "bf16", "options"),
    [
        # the fewest workers that wait little
        ([{"workers": 1, "waiting": 0.02}, {"workers": 2, "waiting": 0.0}], 0.6, ("1", "bf16")),
        # none waits little: the fastest
        ([{"workers": 1, "films_per_second": 30.0}, {"workers": 2}], 0.6, ("1", "bf16")),
        # other batches, chunks and precisions are not read
        ([{"workers": 1, "waiting": 0.0, "batch_size": 4}], 0.6, ("0", "bf16")),
        ([{"workers": 1, "waiting": 0.0, "precision": "fp32"}], 0.6, ("0", "bf16")),
        ([{"workers": 1, "waiting": 0.0, "chunk": 4}], 0.6, ("0", "bf16")),
        # bf16 that is hardly faster, or not there
        ([], 0.97, ("0", "fp32")),
        ([], None, ("0", "fp32")),
    ],
)
def test_settings_follow_from_the_trials(others, bf16, options):
    from mmil_cli.stages.auto_batch import FoundBatch
    from mmil_cli.stages.bench_pretrain import recommend

    trials = [trial(), *(trial(**other) for other in others)]
    found = recommend(trials, bf16=bf16, batch=FoundBatch(batch_size=24, how="so it fits"))
    workers, precision = options
    assert found.options == ("data.batch_size=24", f"data.workers={workers}", f"run.precision={precision}")
    assert found.reasons[0] == "so it fits"


def test_a_step_of_the_bench_is_the_first_step_of_the_run(dataset, recipe, tmp_path):
    from mmil_cli.stages import pretrain
    from mmil_cli.stages.bench_step import workbench
    from mmil_cli.stages.pretrain_run import Watchers

    class Stop(Exception):
        pass

    losses = []

    def watch(progress):
        losses.append(progress.loss)
        raise Stop

    with pytest.raises(Stop):
        pretrain.run(dataset, tmp_path / "run", recipe=recipe, device="cpu", watchers=Watchers(on_step=watch))
    with workbench(dataset, recipe, device="cpu") as bench:
        before = {name: value.clone() for name, value in bench.model.state_dict().items()}
        assert bench.take_step(bench.batch()) == pytest.approx(losses[0], rel=1e-6)
        after = bench.model.state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before)


def test_the_encoders_alone_get_gradients_and_change_nothing(dataset, recipe, monkeypatch):
    from mmil_cli.stages.bench_step import workbench

    with workbench(dataset, recipe, device="cpu") as bench:
        found = {}
        monkeypatch.setattr(
            bench.optimiser,
            "zero_grad",
            lambda set_to_none: found.update(
                {name: p.grad is not None for name, p in bench.model.named_parameters()}
            ),
        )
        before = [parameter.clone() for parameter in bench.model.parameters()]
        bench.both_encoders(bench.batch())
        for old, new in zip(before, bench.model.parameters(), strict=True):
            assert torch.equal(old, new)
    towers = ("image_encoder.", "text_encoder.")
    assert found
    assert all(has == name.startswith(towers) for name, has in found.items())


def test_the_command_ends_with_options_to_paste(outcome, capsys):
    from mmil_cli.cli.bench_pretrain import _show_pretrain

    result, _ = outcome
    _show_pretrain(result)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"written: {result.record}"
    assert lines[-2] == "use: " + " ".join(f"--set {option}" for option in result.recommendation.options)
    assert set(result.recommendation.reasons) <= set(lines)
    assert sum("against" in line for line in lines) >= len(result.rows)


def test_a_dataset_that_is_not_there_is_told_before_anything_is_tried(tmp_path):
    from typer.testing import CliRunner

    from mmil_cli.cli.app import app
    from mmil_cli.errors import MmilError

    arguments = ["bench", "pretrain", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    outcome = CliRunner().invoke(app, arguments)
    assert isinstance(outcome.exception, MmilError)
    assert "nowhere" in str(outcome.exception)
    assert list(tmp_path.iterdir()) == []
