"""`mmil pretrain --auto-batch`: the largest batch that fits, said, and kept when the run goes on."""

import pytest
import yaml
from typer.testing import CliRunner

TINY = ("data.workers=0", "image.size=32", "image.widths=[4, 8]", "text.width=8", "text.heads=2",
        "text.layers=1", "projection.dim=8", "optim.epochs=1", "run.precision=fp32")  # fmt: skip
SETTINGS = [word for override in TINY for word in ("--set", override)]
MEBI = 2**20


def invoke(*arguments):
    from mmil_cli.cli.app import app

    return CliRunner().invoke(app, ["pretrain", *map(str, arguments), "--device", "cpu", *SETTINGS])


def batch_of(run):
    return yaml.safe_load((run / "recipe.yaml").read_text())["data"]["batch_size"]


@pytest.mark.parametrize(
    ("free", "most", "batch"),
    [
        (1000, 10_000, 40),  # 500 MiB hold 40 films of 10 MiB beside 100 MiB that do not grow
        (1000, 32, 32),
        (1000, 20, 16),
        (1000, 7, 7),
        (250, 10_000, 2),
    ],
)
def test_on_a_cpu_the_batch_follows_from_what_two_small_ones_take(free, most, batch):
    from mmil_cli.stages.auto_batch import largest_by_line

    measured = [(8, 180 * MEBI), (24, 340 * MEBI)]
    found = largest_by_line(measured, free=free * MEBI, most=most)
    assert found.batch_size == batch
    assert found.how.startswith(f"data.batch_size={batch}: a film takes 10.0 MiB")
    assert ("no more than" in found.how) == (most < 40 and free == 1000)


def test_too_little_memory_for_two_films_is_refused():
    from mmil_cli.errors import UsageError
    from mmil_cli.stages.auto_batch import largest_by_line

    with pytest.raises(UsageError, match="110 MiB, 50% of the free memory, do not hold two films"):
        largest_by_line([(8, 180 * MEBI), (24, 340 * MEBI)], free=220 * MEBI, most=100)


@pytest.mark.parametrize(
    ("limit", "most", "best", "tried"),
    [
        (70, 1000, 64, [8, 16, 32, 64, 128, 96]),
        (100, 1000, 96, [8, 16, 32, 64, 128, 96]),
        (1000, 50, 48, [8, 16, 32, 48]),
        (1000, 5, 5, [5]),
        (8, 1000, 8, [8, 16]),
    ],
)
def test_on_a_gpu_it_is_tried(limit, most, best, tried):
    from mmil_cli.stages.auto_batch import largest_by_trying

    seen = []

    def fits(batch):
        seen.append(batch)
        return batch <= limit

    found = largest_by_trying(fits, most=most)
    assert found.batch_size == best
    assert seen == tried


def test_a_gpu_that_holds_none_is_told():
    from mmil_cli.errors import UsageError
    from mmil_cli.stages.auto_batch import largest_by_trying

    with pytest.raises(UsageError, match="does not hold 8 films"):
        largest_by_trying(lambda _: False, most=100)


def test_running_out_of_the_memory_of_a_device_is_a_trial_that_does_not_fit(tiny_dataset, monkeypatch):
    import torch

    from mmil_cli.config.load import load_recipe
    from mmil_cli.stages import pretrain_run, trial

    def out_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    recipe = load_recipe(None, overrides=[*TINY, "data.batch_size=8"])
    monkeypatch.setattr(pretrain_run.ContrastiveObjective, "__call__", out_of_memory)
    assert not trial.run_trial(tiny_dataset, recipe, device="cpu", steps=1).fits


def test_the_batch_is_said_written_and_kept(tiny_dataset, tmp_path, monkeypatch):
    from mmil_cli.stages import auto_batch

    monkeypatch.setattr(auto_batch, "available_memory", lambda: 2**40)
    outcome = invoke(tiny_dataset, "--auto-batch", "--out", tmp_path / "run")
    assert outcome.exit_code == 0, outcome.output
    found = batch_of(tmp_path / "run")
    assert found >= 8
    (said,) = [line for line in outcome.stderr.splitlines() if line.startswith("data.batch_size=")]
    assert said.startswith(f"data.batch_size={found}: a film takes ")
    assert yaml.safe_load((tmp_path / "run" / "checkpoint" / "recipe.yaml").read_text())["data"][
        "batch_size"
    ] == found  # fmt: skip

    monkeypatch.setattr(auto_batch, "find_batch", None)  # whoever resumes asks nobody
    again = invoke(tiny_dataset, "--auto-batch", "--out", tmp_path / "run")
    assert again.exit_code == 0, again.output
    assert f"data.batch_size={found}: that of the run in" in again.stderr
    assert "already complete" in again.stdout


def test_a_run_to_be_replaced_is_measured_anew(tiny_dataset, tmp_path, monkeypatch):
    from mmil_cli.stages import auto_batch

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("data: {batch_size: 3}")
    found = auto_batch.FoundBatch(batch_size=9, how="measured")
    monkeypatch.setattr(auto_batch, "find_batch", lambda *_, **__: found)
    assert invoke(tiny_dataset, "--auto-batch", "--overwrite", "--out", tmp_path / "run").exit_code == 0
    assert batch_of(tmp_path / "run") == 9


def test_two_batches_or_several_processes_are_refused(tiny_dataset, tmp_path, monkeypatch):
    outcome = invoke(tiny_dataset, "--auto-batch", "--set", "data.batch_size=4", "--out", tmp_path / "run")
    assert "give one of them" in str(outcome.exception)
    for name, value in {
        "RANK": 0,
        "LOCAL_RANK": 0,
        "WORLD_SIZE": 2,
        "MASTER_ADDR": 1,
        "MASTER_PORT": 1,
    }.items():
        monkeypatch.setenv(name, str(value))
    outcome = invoke(tiny_dataset, "--auto-batch", "--out", tmp_path / "run")
    assert "find it without torchrun" in str(outcome.exception)
    assert not (tmp_path / "run").exists()


def test_what_is_available_is_within_the_limit_of_a_container(tmp_path, monkeypatch):
    from mmil_cli.stages import auto_batch

    free = auto_batch.available_memory()
    assert free > 50 * MEBI
    (tmp_path / "max").write_text(f"{100 * MEBI}\n")
    (tmp_path / "current").write_text(f"{70 * MEBI}\n")
    monkeypatch.setattr(auto_batch, "MEMORY_FILES", (tmp_path / "max", tmp_path / "current"))
    assert auto_batch.available_memory() == 30 * MEBI
    (tmp_path / "max").write_text("max\n")
    assert auto_batch.available_memory() > 30 * MEBI
