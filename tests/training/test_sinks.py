"""Where the numbers of the log go besides: TensorBoard files where it is installed, and a stand-in W&B."""

import sys
import types

import pytest


def write_run(folder, names, *, first_step, steps):
    from mmil_cli.training.log import RunLog
    from mmil_cli.training.sinks import open_sinks

    sinks = open_sinks(names, folder, first_step=first_step, recipe="a: 1", dataset_hash="b")
    log = RunLog(folder / "log.jsonl", first_step=first_step, sinks=sinks)
    for step in steps:
        log.write("train", step, loss=1.0 / step, note="no number")
    log.close()


def test_tensorboard_gets_every_number_and_a_resumed_run_writes_no_step_twice(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_run(tmp_path, ["tensorboard"], first_step=0, steps=[1, 2, 3])
    write_run(tmp_path, ["tensorboard"], first_step=1, steps=[2, 3, 4])
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Tags()["scalars"] == ["train/loss"]
    found = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert [step for step, _ in found] == [1, 2, 3, 4]
    assert found[1][1] == pytest.approx(0.5)


def test_weights_and_biases_goes_on_with_the_same_run(tmp_path, monkeypatch):
    runs = []

    class FakeRun:
        def __init__(self, **settings):
            self.settings, self.logged, self.is_finished = settings, [], False
            runs.append(self)

        def log(self, numbers, *, step):
            self.logged.append((step, numbers))

        def finish(self):
            self.is_finished = True

    module = types.ModuleType("wandb")
    module.init = FakeRun
    monkeypatch.setitem(sys.modules, "wandb", module)
    write_run(tmp_path / "mine", ["wandb"], first_step=0, steps=[1])
    write_run(tmp_path / "mine", ["wandb"], first_step=1, steps=[2])
    write_run(tmp_path / "other", ["wandb"], first_step=0, steps=[1])
    assert [run.logged for run in runs[:2]] == [[(1, {"train/loss": 1.0})], [(2, {"train/loss": 0.5})]]
    assert all(run.is_finished for run in runs)
    assert runs[0].settings == runs[1].settings
    assert runs[0].settings["name"] == "mine"
    assert runs[0].settings["resume"] == "allow"
    assert runs[0].settings["id"] != runs[2].settings["id"]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_what_is_not_installed_is_told_before_anything_is_written(name, monkeypatch):
    from mmil_cli.errors import UsageError
    from mmil_cli.training.sinks import refuse_missing

    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=f"{name} is not installed; install it"):
        refuse_missing([name])
