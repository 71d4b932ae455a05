"""Who a process of a job is, and which rows are its own; its exchanges are tried in whole runs, in stages."""

import pytest
import torch


def processes(rank, size):
    from mmil_cli.training.processes import Processes

    return Processes(rank=rank, size=size, device=torch.device("cpu"))


@pytest.mark.parametrize(("num_rows", "size"), [(9, 2), (8, 1), (7, 7), (64, 5)])
def test_the_parts_of_a_batch_are_all_of_it_in_order_and_even(num_rows, size):
    parts = [processes(rank, size).part(num_rows) for rank in range(size)]
    assert [row for part in parts for row in range(num_rows)[part.rows]] == list(range(num_rows))
    sizes = [part.last - part.first for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert [part.is_whole for part in parts] == [size == 1] * size


def test_more_processes_than_films_in_a_batch_are_refused():
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=r"data.batch_size is 3 films .* torchrun started 4; .* at most 3"):
        processes(0, 4).part(3)


def test_the_parts_of_a_step_are_its_batch():
    from mmil_cli.data.batches import Schedule

    schedule = Schedule(rows=torch.arange(100, 123).numpy(), batch_size=5, epochs=2, seed=4)
    whole = list(schedule.from_step(3))
    parts = [list(schedule.from_step(3, processes(rank, 2).part(5))) for rank in (0, 1)]
    assert [first + second for first, second in zip(*parts, strict=True)] == whole


def test_without_torchrun_there_is_one_process(monkeypatch):
    from mmil_cli.runtime import PlaceInJob, place_in_job

    for size in (None, "1"):
        monkeypatch.delenv("WORLD_SIZE", raising=False) if size is None else monkeypatch.setenv(
            "WORLD_SIZE", size
        )
        assert place_in_job() == PlaceInJob(rank=0, size=1, local_rank=0)


def test_half_of_what_torchrun_sets_is_refused(monkeypatch):
    from mmil_cli.errors import UsageError
    from mmil_cli.runtime import place_in_job

    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        UsageError, match=r"WORLD_SIZE is 2, but RANK, LOCAL_RANK, .* not set; start .* torchrun"
    ):
        place_in_job()


def test_numbers_of_texts_are_the_same_in_every_batch():
    from mmil_cli.data.batches import digest_values

    numbers = digest_values(["No effusion.", "Kein Erguß.", "No effusion.", ""])
    assert numbers[0] == numbers[2]
    assert len(numbers.unique()) == 3
    assert (numbers >= 0).all()
    assert digest_values(["Kein Erguß."]).item() == numbers[1].item()
    assert len(digest_values([])) == 0
