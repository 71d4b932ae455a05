"""A run that is stopped, killed or out of room goes on to the very weights of one that was left alone."""

import errno
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time

import pytest
import torch
from test_pretrain import pretrain, stop_after, weights_hash

KILLS = int(os.environ.get("MMIL_TEST_KILLS", "3"))
OPTIONS = ("optim.epochs=2", "run.validate_every=1", "run.keep=best", "text.dropout=0.2", "augment.flip=0.3")


@pytest.fixture(scope="module")
def undisturbed(tiny_dataset, tmp_path_factory):
    return pretrain(tiny_dataset, tmp_path_factory.mktemp("undisturbed") / "run", *OPTIONS)


def names_in(folder):
    return {path.relative_to(folder) for path in folder.rglob("*")}


def lines_of(run, kind):
    """Lines of the log but for what the clock and the memory make of them."""
    left_out = ("films_per_second", "waiting", "memory_mib")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in left_out} for line in lines if line["kind"] == kind]


def send(number, step):
    """Watchers that send this process a signal in a step."""
    from mmil_cli.stages.pretrain import Watchers

    return Watchers(on_step=lambda seen: os.kill(os.getpid(), number) if seen.step == step else None)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_step_at_hand(tiny_dataset, undisturbed, tmp_path, number, code):
    from mmil_cli.errors import Interrupted

    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match=r"after step 3 of \d+, which is saved; give the same") as stopped:
        pretrain(tiny_dataset, tmp_path / "run", *OPTIONS, "run.save_every=1000", watchers=send(number, 3))
    assert stopped.value.exit_code == code
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    resumed = pretrain(tiny_dataset, tmp_path / "run", *OPTIONS, "data.workers=1")
    assert resumed.resumed_at == 3
    assert weights_hash(resumed) == weights_hash(undisturbed)
    assert resumed.metrics == undisturbed.metrics
    assert lines_of(tmp_path / "run", "train") == lines_of(undisturbed.checkpoint.parent, "train")


@pytest.mark.parametrize("step", ["in the middle", "at the end"])
def test_a_signal_during_a_validation_leaves_it_to_the_next_call(
    tiny_dataset, undisturbed, tmp_path, monkeypatch, step
):
    from mmil_cli.errors import Interrupted
    from mmil_cli.stages import pretrain_run

    middle = undisturbed.num_steps // 2
    plain, calls = pretrain_run.validate, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == (1 if step == "in the middle" else 2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
            raise AssertionError("the signal was not heard")
        return plain(*arguments, **options)

    monkeypatch.setattr(pretrain_run, "validate", interrupted)
    with pytest.raises(Interrupted):
        pretrain(tiny_dataset, tmp_path / "run", *OPTIONS, "run.save_every=1000")
    monkeypatch.undo()
    resumed = pretrain(tiny_dataset, tmp_path / "run", *OPTIONS)
    assert resumed.resumed_at == (middle if step == "in the middle" else 2 * middle)
    assert weights_hash(resumed) == weights_hash(undisturbed)
    assert lines_of(tmp_path / "run", "validate") == lines_of(undisturbed.checkpoint.parent, "validate")


def test_a_second_signal_does_not_wait():
    from mmil_cli.training.stopping import StopSignals

    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.wanted == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with StopSignals(hears_second=False) as signals:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)


def test_signals_outside_the_main_thread_are_left_alone():
    from mmil_cli.training.stopping import StopSignals

    before, seen = signal.getsignal(signal.SIGINT), []

    def enter():
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


def run_until_killed(data, out, threads, steps, seconds, options):
    """In a process of its own: the run, ended by kill -9 some time after some steps, wherever it is."""
    from mmil_cli.stages.pretrain import Watchers

    torch.set_num_threads(threads)  # sums over threads are rounded by their number
    multiprocessing.set_start_method("fork", force=True)  # of readers of data, as in a command; it is quick
    timer = threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGKILL))
    timer.daemon = True
    left = iter(range(steps - 1, -1, -1))
    watchers = Watchers(on_step=lambda _: timer.start() if next(left, None) == 0 else None)
    pretrain(data, out, *options, watchers=watchers)


def kill_at_random(data, out, *options, num_kills):
    """Kills a run at random moments and starts it again, so often; a run that was faster begins anew."""
    draw, killed = random.Random(num_kills), 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "mmil_cli.stages.pretrain"])
    while killed < num_kills:
        free = (f"data.workers={draw.choice([0, 0, 1, 2])}", f"run.save_every={draw.choice([1, 2, 5])}")
        moment = (torch.get_num_threads(), draw.randint(1, 8), draw.uniform(0, 0.3))
        process = context.Process(target=run_until_killed, args=(data, out, *moment, (*options, *free)))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        if process.exitcode == 0:
            shutil.rmtree(out)
        else:
            killed += 1


def test_kill_9_at_any_moment_ends_with_the_same_weights(tiny_dataset, tmp_path):
    """By default a few kills; MMIL_TEST_KILLS=20 for the long test, of a longer run."""
    epochs = (f"optim.epochs={2 + 2 * KILLS}", "run.validate_every=3")
    undisturbed = pretrain(tiny_dataset, tmp_path / "whole", *OPTIONS, *epochs)
    kill_at_random(tiny_dataset, tmp_path / "run", *OPTIONS, *epochs, num_kills=KILLS)
    resumed = pretrain(tiny_dataset, tmp_path / "run", *OPTIONS, *epochs)
    assert weights_hash(resumed) == weights_hash(undisturbed)
    assert resumed.metrics == undisturbed.metrics
    assert names_in(tmp_path / "run") == names_in(tmp_path / "whole")
    for kind in ("train", "validate"):
        assert lines_of(tmp_path / "run", kind) == lines_of(tmp_path / "whole", kind)


def test_minutes_save_too(tiny_dataset, tmp_path):
    from test_pretrain import PlugPulled

    for minutes, step in ((1e-9, 4), (0, 0)):
        options = (*OPTIONS, "run.save_every=1000", f"run.save_minutes={minutes}")
        with pytest.raises(PlugPulled):
            pretrain(tiny_dataset, tmp_path / str(step), *options, watchers=stop_after(5))
        assert (tmp_path / str(step) / "state.pt").exists() == (step > 0)
        if step:
            assert torch.load(tmp_path / str(step) / "state.pt")["reached"]["step"] == step


def test_a_full_disk_ends_the_run_with_the_old_state_whole(tiny_dataset, undisturbed, tmp_path, monkeypatch):
    from pathlib import Path

    plain, calls = Path.write_bytes, []

    def full(path, content):
        calls.append(path)
        if path.name == ".state.pt.partial" and len([c for c in calls if c == path]) == 2:
            plain(path, bytes(content)[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return plain(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        pretrain(tiny_dataset, tmp_path / "run", *OPTIONS)
    monkeypatch.undo()
    assert not list((tmp_path / "run").glob(".*"))
    resumed = pretrain(tiny_dataset, tmp_path / "run", *OPTIONS)
    assert resumed.resumed_at == 2
    assert weights_hash(resumed) == weights_hash(undisturbed)


def test_a_recipe_or_dataset_that_is_another_is_refused_by_name(tiny_dataset, tmp_path, monkeypatch):
    from test_pretrain import PlugPulled

    from mmil_cli.data.dataset import StudyDataset
    from mmil_cli.errors import UsageError

    with pytest.raises(PlugPulled):
        pretrain(tiny_dataset, tmp_path / "run", watchers=stop_after(3))
    with pytest.raises(
        UsageError, match=r"unfinished run of another recipe \(optim.lr is 0.001 there and 0.5"
    ):
        pretrain(tiny_dataset, tmp_path / "run", "optim.lr=0.5")
    state = (tmp_path / "run" / "state.pt").read_bytes()
    plain = StudyDataset.open

    def changed(folder):
        from dataclasses import replace

        dataset = plain(folder)
        dataset.info = replace(dataset.info, content_hash="another")
        return dataset

    monkeypatch.setattr(StudyDataset, "open", changed)
    with pytest.raises(UsageError, match="unfinished run of another dataset"):
        pretrain(tiny_dataset, tmp_path / "run")
    assert (tmp_path / "run" / "state.pt").read_bytes() == state


def test_a_loss_that_is_not_finite_names_its_films_and_keeps_the_state_before(
    tiny_dataset, undisturbed, tmp_path, monkeypatch
):
    from mmil_cli.data.dataset import StudyDataset
    from mmil_cli.errors import MmilError
    from mmil_cli.objective import ContrastiveObjective

    plain, steps = ContrastiveObjective.__call__, []

    def spoilt(objective, batch, generator):
        steps.append(1)
        losses = plain(objective, batch, generator)
        if len(steps) == 4:
            losses.total.data.fill_(torch.nan)
        return losses

    monkeypatch.setattr(ContrastiveObjective, "__call__", spoilt)
    with pytest.raises(MmilError, match=r"is not finite at step 4, of the films \S+, \S+, \S+ and 5 more"):
        pretrain(tiny_dataset, tmp_path / "run", *OPTIONS, "run.save_every=1000")
    monkeypatch.undo()
    told = json.loads((tmp_path / "run" / "not_finite.json").read_text())
    dataset = StudyDataset.open(tiny_dataset)
    known = {dataset.row(int(row)).image_id for row in dataset.indices("train")}
    assert told["step"] == 4
    assert len(set(told["image_ids"])) == 8
    assert set(told["image_ids"]) <= known
    resumed = pretrain(tiny_dataset, tmp_path / "run", *OPTIONS)
    assert resumed.resumed_at == 3
    assert weights_hash(resumed) == weights_hash(undisturbed)


def test_a_gradient_that_is_not_finite_changes_no_weight(tiny_dataset, tmp_path):
    from mmil_cli.errors import NotFinite
    from mmil_cli.training.loop import Losses, Plan, run_steps
    from mmil_cli.training.optim import make_optimiser

    model = torch.nn.Sequential(torch.nn.BatchNorm1d(1), torch.nn.Linear(1, 1))
    before = {name: value.clone() for name, value in model.state_dict().items()}

    class Nothing:
        def to(self, device):
            return self

    def objective(batch, generator):
        out = model(torch.randn(4, 1)).sum()
        return Losses(total=out + (model[1].weight.sum() * 0).sqrt(), parts={})  # the root's slope at 0

    with pytest.raises(NotFinite, match=r"the gradient \(norm nan\) is not finite at step 1"):
        run_steps(
            [Nothing()],
            model=model,
            optimiser=make_optimiser([(model.parameters(), 0.1)], weight_decay=0.0),
            objective=objective,
            plan=Plan(num_steps=1, warmup_steps=0, grad_clip=1.0, seed=0),
            first_step=0,
            device=torch.device("cpu"),
            after_step=lambda report: None,
        )
    assert all((value == before[name]).all() for name, value in model.state_dict().items())


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_the_order_of_samples_is_the_same_for_any_number_of_processes(size):
    import numpy as np

    from mmil_cli.data.batches import Part, Schedule

    schedule = Schedule(rows=np.arange(50), batch_size=8, epochs=2, seed=3)
    ends = [8 * rank // size for rank in range(size + 1)]
    parts = [Part(first=a, last=b, num_rows=8) for a, b in itertools.pairwise(ends)]
    for first in (0, 5):
        by_rank = [list(schedule.from_step(first, part)) for part in parts]
        joined = [list(itertools.chain(*rows)) for rows in zip(*by_rank, strict=True)]
        assert joined == list(schedule.from_step(first))
