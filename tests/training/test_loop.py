"""The parts of training that know no model: order, learning rate, state, log."""

import itertools
import json

import numpy as np
import pytest
import torch


def make_schedule(num_rows=23, batch_size=5, epochs=3, seed=4):
    from mmil_cli.data.batches import Schedule

    return Schedule(rows=np.arange(100, 100 + num_rows), batch_size=batch_size, epochs=epochs, seed=seed)


def test_the_order_is_a_function_of_seed_and_step():
    schedule = make_schedule()
    whole = list(schedule.from_step(0))
    assert len(whole) == schedule.num_steps == 12
    for first in (1, 4, 7, 12):
        assert list(schedule.from_step(first)) == whole[first:]
    assert list(make_schedule(seed=5).from_step(0)) != whole


def test_each_epoch_shows_complete_batches_of_distinct_rows():
    steps = list(make_schedule().from_step(0))
    for epoch in range(3):
        rows = [row for batch in steps[4 * epoch : 4 * epoch + 4] for _, row in batch]
        assert len(set(rows)) == 20
        assert set(rows) <= set(range(100, 123))
    assert [step for step, _ in (batch[0] for batch in steps)] == list(range(12))


def test_the_learning_rate_rises_then_falls_to_nothing():
    from mmil_cli.training.optim import learning_rate_factor

    factors = [learning_rate_factor(step, num_steps=100, warmup_steps=10) for step in range(101)]
    assert factors[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))
    assert factors[100] == pytest.approx(0)
    assert learning_rate_factor(0, num_steps=5, warmup_steps=0) == 1


def test_weight_decay_spares_norms_and_biases():
    from mmil_cli.training.optim import make_optimiser

    layer = torch.nn.Linear(3, 2)
    decayed, kept = make_optimiser([(layer.parameters(), 0.1)], weight_decay=0.5).param_groups
    assert decayed["params"] == [layer.weight]
    assert kept["params"] == [layer.bias]
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.5, 0.0)


def test_a_state_of_another_recipe_is_refused_and_a_damaged_one_told(tmp_path):
    from mmil_cli.errors import CheckpointError, UsageError
    from mmil_cli.training.optim import make_optimiser
    from mmil_cli.training.state import Resumed, RunIdentity, load_state, save_state

    model = torch.nn.Linear(2, 2)
    optimiser = make_optimiser([(model.parameters(), 0.1)], weight_decay=0.0)
    mine = RunIdentity(recipe="a", dataset_hash="b")
    path = tmp_path / "state.pt"
    assert load_state(path, model=model, optimiser=optimiser, identity=mine) == Resumed()
    reached = Resumed(step=7, is_validated=False, best=0.5, since=2)
    save_state(path, model=model, optimiser=optimiser, reached=reached, identity=mine)
    assert load_state(path, model=model, optimiser=optimiser, identity=mine) == reached
    with pytest.raises(UsageError, match="another dataset"):
        load_state(path, model=model, optimiser=optimiser, identity=RunIdentity(recipe="a", dataset_hash="c"))
    other = RunIdentity(recipe="a", dataset_hash="b", version="0.0.0")
    with pytest.raises(UsageError, match="another version"):
        load_state(path, model=model, optimiser=optimiser, identity=other)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(path, model=model, optimiser=optimiser, identity=mine)


def test_a_resumed_log_drops_what_will_be_written_again_and_a_torn_line(tmp_path):
    from mmil_cli.training.log import RunLog, read_log

    path = tmp_path / "log.jsonl"
    log = RunLog(path, first_step=0)
    for step in (1, 2, 3):
        log.write("train", step, loss=float("nan") if step == 2 else 1.0)
    with path.open("a") as handle:
        handle.write('{"kind": "train", "st')
    RunLog(path, first_step=2).write("train", 3, loss=0.5)
    assert [(entry["step"], entry["loss"]) for entry in read_log(path)] == [(1, 1.0), (2, None), (3, 0.5)]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_validation_that_comes_again_is_dropped_from_the_log(tmp_path):
    from mmil_cli.training.log import RunLog, read_log

    for is_validated, kinds in ((True, ["validate", "train", "validate"]), (False, ["validate", "train"])):
        log = RunLog(tmp_path / "log.jsonl", first_step=0)
        for kind, step in (("validate", 3), ("train", 4), ("validate", 4), ("train", 5)):
            log.write(kind, step)
        RunLog(tmp_path / "log.jsonl", first_step=4, is_validated=is_validated)
        assert [entry["kind"] for entry in read_log(tmp_path / "log.jsonl")] == kinds


def test_a_loss_that_is_not_finite_stops_the_run():
    from mmil_cli.errors import NotFinite
    from mmil_cli.training.loop import Losses, Plan, run_steps
    from mmil_cli.training.optim import make_optimiser

    model = torch.nn.Linear(1, 1)

    class Nothing:
        def to(self, device):
            return self

    def objective(batch, generator):
        total = model.weight.sum() * float("nan")
        return Losses(total=total, parts={"term": total.detach()})

    with pytest.raises(NotFinite, match=r"the loss \(term nan\) is not finite at step 5"):
        run_steps(
            [Nothing()],
            model=model,
            optimiser=make_optimiser([(model.parameters(), 0.1)], weight_decay=0.0),
            objective=objective,
            plan=Plan(num_steps=9, warmup_steps=0, grad_clip=1.0, seed=0),
            first_step=4,
            device=torch.device("cpu"),
            after_step=lambda report: None,
        )
