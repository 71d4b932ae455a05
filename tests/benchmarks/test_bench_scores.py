"""`mmil bench scores`: both sides of each comparison compute the same, and the record says what was run."""

import json
import math

import pytest
import torch


def quick_cases():
    from mmil_cli.stages.bench_scores import cases

    return list(cases(quick=True, device=torch.device("cpu")))


@pytest.mark.parametrize("place", [0, 1, 3])
def test_ours_and_the_plain_form_are_equal_and_so_are_their_gradients(place):
    from mmil_cli.stages.bench_scores import both_ways, make_inputs

    case = quick_cases()[place]
    inputs = make_inputs(case.shape, torch.device("cpu"))
    ours, plain = both_ways(case.ours, *inputs), both_ways(case.plain, *inputs)
    for mine, other, unit in zip(ours, plain, (None, *inputs[:2]), strict=True):
        torch.testing.assert_close(along(mine, unit), along(other, unit), atol=1e-5, rtol=1e-4)
        assert mine.abs().sum() > 0


def along(gradient, unit):
    """What a gradient says on the sphere: some forms normalise once more what is a unit vector already."""
    return gradient if unit is None else gradient - (gradient * unit).sum(dim=-1, keepdim=True) * unit


def test_inputs_repeat_as_many_sentences_as_asked():
    from mmil_cli.stages.bench_scores import Shape, make_inputs

    shape = Shape(images=10, regions=4, sentences=8, dim=5, distinct=0.4)
    _, sentences, index = make_inputs(shape, torch.device("cpu"))
    assert len(sentences) == 32
    assert index.unique().tolist() == list(range(32))


def test_a_quick_run_writes_every_comparison_with_its_limits(tmp_path):
    from mmil_cli.stages.bench_scores import run

    result = run(tmp_path, quick=True, device="cpu")
    record = json.loads(result.record.read_text())
    assert record["provenance"]["processor"]
    assert record["provenance"]["command"] == "mmil bench scores --quick"
    assert len(record["rows"]) == len(quick_cases())
    for row in record["rows"]:
        measured = row["measured"]
        assert measured["time_low"] <= measured["time_ratio"] <= measured["time_high"]
        assert math.isfinite(measured["seconds"])
        assert row["most_time"] > 0


def test_memory_is_that_of_the_peak_and_of_what_stays():
    from mmil_cli.stages.measure import peak_memory

    mebibytes = 256  # many times what reclaimed pages of the libraries may come back with
    numbers = mebibytes * 2**20 // 4

    def passing():
        torch.zeros(numbers)
        return torch.zeros(numbers // 2)

    found = peak_memory(passing, torch.device("cpu"))
    if found is None:
        pytest.skip("the peak of the resident set cannot be set back here")
    assert mebibytes * 0.9 <= found / 2**20 <= mebibytes * 1.3
