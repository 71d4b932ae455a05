"""Several processes with their parts of each batch: the losses and weights of one process with all of it."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

TINY = (
    "data.batch_size=9",
    "data.workers=0",
    "image.size=32",
    "image.widths=[4, 8]",
    "text.width=8",
    "text.heads=2",
    "text.layers=1",
    "text.dropout=0",
    "projection.dim=8",
    "optim.epochs=1",
    "run.precision=fp32",
    "run.log_every=1",
    "run.save_every=2",
)
JOBS = {
    "uneven": (),
    "calibrated": ("score.expression=lse(gamma=auto)+nl", "score.temperature=auto", "data.batch_size=8"),
    "one sentence": (
        "score.sentences=one",
        "data.max_sentences=2",
        "score.expression=word-max",
        "score.objective=sigmoid",
        "score.same_group=positive",
    ),
    "in lots": ("data.chunk=2", "image.encoder=squeezenet1_1", "image.layer=features.3"),  # has no batch norm
    "bags and thaw": ("data.films=bag", "image.freeze=stages.1", "image.thaw=0.5", "data.batch_size=7"),
    "resumed": (),
    "in shares": ("run.shard=true",),
    "in shares, resumed": ("run.shard=true",),
    "in shares and lots": (
        "run.shard=true",
        "data.chunk=2",
        "image.encoder=squeezenet1_1",
        "image.layer=features.3",
    ),
}
STOPPED_AT = 5
OF_THREE = ("data.batch_size=8",)


def of_one(overrides):
    """What one process is given for the same outcome."""
    return tuple(override for override in overrides if override != "run.shard=true")


def pretrain(data, out, *overrides, **options):
    from mmil_cli.config.load import load_recipe
    from mmil_cli.stages.pretrain import run

    return run(data, out, recipe=load_recipe(None, overrides=[*TINY, *overrides]), device="cpu", **options)


class PlugPulled(Exception):
    """Stands for whatever ends a process between two steps."""


def pull_the_plug(progress):
    if progress.step == STOPPED_AT:
        raise PlugPulled


def work(rank, data, folder, ports):
    """One of two processes, in every job."""
    from mmil_cli.stages.pretrain import Watchers

    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in place.items()})
    for (name, overrides), port in zip(JOBS.items(), ports[:-2], strict=True):
        os.environ["MASTER_PORT"] = str(port)
        if name == "in shares, resumed":
            be_told_to_stop(data, folder / name, *overrides)
            os.environ["MASTER_PORT"] = str(ports.pop())
        seen = []
        result = pretrain(data, folder / name, *overrides, watchers=Watchers(on_step=seen.append))
        assert len(seen) == (result.num_steps - result.resumed_at if rank == 0 else 0)
    os.environ["MASTER_PORT"] = str(ports[-1])
    find_a_fault(rank, data, folder)


def be_told_to_stop(data, out, *overrides):
    """As by Ctrl-C in the middle of a run, which the first process hears."""
    from mmil_cli.errors import MmilError
    from mmil_cli.stages.pretrain import Watchers

    def hear(progress):
        if progress.step == STOPPED_AT:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(MmilError):  # one process tells it, the other is silent
        pretrain(data, out, *overrides, watchers=Watchers(on_step=hear))
    torch.distributed.destroy_process_group()  # which ends with a process that failed


def work_of_three(rank, data, folder, port):
    """One of three processes, whose parts of a batch are uneven."""
    torch.set_num_threads(1)
    place = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": 3,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    os.environ.update({name: str(value) for name, value in place.items()})
    pretrain(data, folder / "three", *OF_THREE)


def find_a_fault(rank, data, folder):
    """Asks for what cannot be, and writes down what this process makes of it."""
    from mmil_cli.errors import MmilError

    with pytest.raises(MmilError) as found:
        pretrain(data, folder / "fault", "data.batch_size=4000")
    (folder / f"fault-{rank}").write_text(f"{found.type.__name__}: {found.value}")
    while not (folder / f"fault-{1 - rank}").exists():  # the store of this job goes with the first process
        time.sleep(0.01)


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def by_two(tiny_dataset, tmp_path_factory):
    """The run folders of two processes; the last of them went on with what one process began."""
    from mmil_cli.stages.pretrain import Watchers

    folder = tmp_path_factory.mktemp("two")
    with pytest.raises(PlugPulled):
        pretrain(tiny_dataset, folder / "resumed", watchers=Watchers(on_step=pull_the_plug))
    multiprocessing.set_forkserver_preload(["torch", "mmil_cli.stages.pretrain"])  # imported once for both
    torch.multiprocessing.start_processes(
        work, args=(tiny_dataset, folder, free_ports(len(JOBS) + 2)), nprocs=2, start_method="forkserver"
    )
    return folder


@pytest.fixture(scope="module")
def by_one(tiny_dataset, tmp_path_factory):
    """The run folders of one process with the same recipes."""
    folder = tmp_path_factory.mktemp("one")
    for overrides in {of_one(overrides) for overrides in JOBS.values()}:
        pretrain(tiny_dataset, folder / str(overrides), *overrides)
    return folder


def entries_of(run):
    """The log without times and warnings, and without what is read of the first process alone."""
    of_one = ("effective_regions", "spread", "chance_loss", "memory_mib")
    left_out = ("kind", "films_per_second", "waiting", *of_one)
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    told = [entry for entry in entries if entry["kind"] != "warning"]
    return [{key: value for key, value in entry.items() if not key.endswith(left_out)} for entry in told]


def weights_of(run):
    """The weights but for the biases of keys, whose gradient is 0 but for rounding, which AdamW blows up."""
    from safetensors.torch import load_file

    weights = load_file(run / "checkpoint" / "model.safetensors")
    for name in weights:
        if name.endswith("in_proj_bias"):
            query, key, value = weights[name].chunk(3)
            weights[name] = torch.cat([query, 0 * key, value])
    return weights


@pytest.mark.parametrize("job", JOBS)
def test_two_processes_have_the_losses_of_one_step_by_step(by_one, by_two, job):
    assert_same_losses(by_one / str(of_one(JOBS[job])), by_two / job)


@pytest.mark.parametrize("job", JOBS)
def test_two_processes_end_with_the_weights_of_one(by_one, by_two, job):
    assert_same_weights(by_one / str(of_one(JOBS[job])), by_two / job)


def test_three_processes_are_one(tiny_dataset, tmp_path):
    pretrain(tiny_dataset, tmp_path / "one", *OF_THREE)
    multiprocessing.set_forkserver_preload(["torch", "mmil_cli.stages.pretrain"])
    torch.multiprocessing.start_processes(
        work_of_three, args=(tiny_dataset, tmp_path, free_ports(1)[0]), nprocs=3, start_method="forkserver"
    )
    assert_same_losses(tmp_path / "one", tmp_path / "three")
    assert_same_weights(tmp_path / "one", tmp_path / "three")


def assert_same_losses(one, several):
    expected, found = entries_of(one), entries_of(several)
    assert len(found) == len(expected) > 10
    for mine, theirs in zip(expected, found, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-3, abs=1e-5)
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-5)
    losses = [entry["loss"] for entry in expected]
    assert max(losses) - min(losses) > 1e-2


def assert_same_weights(one, several):
    expected, found = weights_of(one), weights_of(several)
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("overrides", "processes", "sentence"),
    [
        (("run.shard=true",), 1, "start several with torchrun"),
        (("run.shard=true", "optim.optimiser=muon"), 2, "muon needs it whole"),
    ],
)
def test_shares_that_cannot_be_are_refused(overrides, processes, sentence):
    from mmil_cli.config.load import load_recipe
    from mmil_cli.errors import UsageError
    from mmil_cli.stages.pretrain_shares import refuse_shares

    with pytest.raises(UsageError, match=sentence):
        refuse_shares(load_recipe(None, overrides=overrides), processes)


def test_all_that_a_run_leaves_is_there(by_one, by_two):
    names = {path.relative_to(by_one / "()") for path in (by_one / "()").rglob("*")}
    for job in JOBS:
        assert {path.relative_to(by_two / job) for path in (by_two / job).rglob("*")} == names


def start_torchrun(data, out):
    """The command under torchrun, with more steps than anybody will wait for."""
    settings = [
        word for override in (*TINY, "optim.epochs=1000", "data.workers=1") for word in ("--set", override)
    ]
    command = ["pretrain", str(data), "--out", str(out), "--device", "cpu", *settings]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "mmil_cli"]
    return subprocess.Popen(
        [sys.executable, *launch, *command],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def child_of_rank(rank, parent):
    """The process that torchrun has started with a rank."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (found,) = [c for c in children if f"\0RANK={rank}\0" in Path(f"/proc/{c}/environ").read_text()]
    return int(found)


def told(stderr):
    return [line for line in stderr.splitlines() if line.startswith("mmil: ")]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the processes of a job in /proc")
def test_a_process_that_dies_ends_the_job_with_one_message_and_whole_files(tiny_dataset, tmp_path):
    from mmil_cli.training.log import read_log

    job = start_torchrun(tiny_dataset, tmp_path / "run")
    try:
        while job.poll() is None and not (tmp_path / "run" / "state.pt").exists():
            time.sleep(0.1)
        os.kill(child_of_rank(1, job.pid), signal.SIGKILL)
        stderr = job.communicate(timeout=60)[1]
    finally:
        job.terminate()
    assert job.returncode not in (0, None)
    (message,) = told(stderr)
    assert message.startswith("mmil: process 0 of 2 ")
    assert message.endswith("it goes on from the last saved state")
    assert "Exception ignored" not in stderr  # of a reader of data that died before its owner
    names = {path.name for path in tmp_path.rglob("*")}
    assert not {name for name in names if name.startswith(".")}
    step = torch.load(tmp_path / "run" / "state.pt")["reached"]["step"]
    assert step > 0
    assert step <= read_log(tmp_path / "run" / "log.jsonl")[-1]["step"]


def test_a_fault_that_all_find_is_told_by_one(by_two):
    told_by, silent = sorted((by_two / f"fault-{rank}").read_text() for rank in (0, 1))[::-1]
    assert told_by.startswith("UsageError: data.batch_size is 4000, but the train split of")
    assert silent.startswith("AlreadyTold: ")
    assert not (by_two / "fault").exists()
