"""The bench of mutual information: best critics, ceilings, critics that learn, the record."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

STORED = Path(__file__).resolve().parents[1] / "results" / "bench_mi.json"


def pytest_generate_tests(metafunc):
    """Every registered objective that bounds mutual information is tried."""
    from mmil_cli.core.losses import ESTIMATES

    if "objective" in metafunc.fixturenames:
        metafunc.parametrize("objective", list(ESTIMATES))


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pairs_of_nats(nats):
    from mmil_cli.phantom.information import CorrelatedGaussians

    return CorrelatedGaussians.of_information(nats, dim=4)


def read_best(source, objective, **options):
    from mmil_cli.stages.bench_mi_pairs import best_logits
    from mmil_cli.stages.mi_critic import read_information

    def logits(x, y):
        return best_logits(source, objective, x, y)

    return read_information(logits, source.sample, objective, seed=(0,), **options)


def gradients_at(logits, objective):
    """Of the loss, with respect to a factor on the logits and to a constant beside them."""
    from mmil_cli.core.losses import OBJECTIVES
    from mmil_cli.stages.mi_critic import pairs_of

    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    shift = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    OBJECTIVES[objective]()(scale * logits + shift, pairs_of(len(logits))).total.backward()
    return float(scale.grad), float(shift.grad)


def test_no_scale_or_shift_betters_the_best_critic(objective):
    """So a new objective whose best critic is not the log ratio has to say by how much it is shifted."""
    from mmil_cli.stages.bench_mi_pairs import best_logits

    source = pairs_of_nats(1.0)
    logits = best_logits(source, objective, *source.sample(np.random.default_rng(0), 1000))
    scale, shift = gradients_at(logits, objective)
    assert abs(scale) < 0.1
    assert abs(shift) < 0.05


def test_without_its_shift_the_critic_is_not_the_best():
    from mmil_cli.stages.bench_mi_pairs import BEST_SHIFT

    source = pairs_of_nats(1.0)
    logits = torch.from_numpy(source.log_ratio(*source.sample(np.random.default_rng(0), 1000)))
    for objective in BEST_SHIFT:
        assert abs(gradients_at(logits, objective)[1]) > 0.3


def test_the_best_critic_reads_the_truth(objective):
    read = read_best(pairs_of_nats(1.0), objective, batch=256, reads=60)
    assert read.shape == (60,)
    assert read.mean() == pytest.approx(1.0, abs=0.04)


def test_a_critic_learns_one_nat(objective):
    from mmil_cli.stages.mi_critic import Estimator

    source = pairs_of_nats(1.0)
    short, long = (Estimator(objective=objective, steps=steps, reads=20) for steps in (2, 200))
    before, after = (float(one(source.sample, seed=(0,))[64].mean()) for one in (short, long))
    assert before < 0.5
    assert after == pytest.approx(1.0, abs=0.2)
    assert after == pytest.approx(read_best(source, objective, batch=64, reads=20).mean(), abs=0.12)


def test_a_critic_of_nothing_reads_nothing():
    from mmil_cli.stages.mi_critic import Estimator

    read = Estimator(objective="dv", steps=60, reads=20)(pairs_of_nats(0.0).sample, seed=(0,))[64]
    assert abs(read.mean()) < 0.05


@pytest.mark.parametrize("batch", [2, 64])
def test_only_infonce_has_a_ceiling_and_it_is_log_b(objective, batch):
    from mmil_cli.stages.bench_mi_pairs import ceiling_of

    ceiling = ceiling_of(objective, batch)
    if objective == "infonce":
        assert ceiling == pytest.approx(np.log(batch))
    else:
        assert ceiling is None


def test_at_six_nats_infonce_stops_at_its_ceiling_and_dv_does_not():
    source = pairs_of_nats(6.0)
    infonce = read_best(source, "infonce", batch=64, reads=40)
    assert 3.7 < infonce.mean() < infonce.max() < np.log(64)
    assert np.log(64) < read_best(source, "infonce", batch=256, reads=10).mean() < np.log(256)
    assert read_best(source, "dv", batch=64, reads=40).mean() > np.log(64) + 1


def test_dv_and_infonce_train_critics_that_differ_by_more_than_a_constant():
    from mmil_cli.stages.mi_critic import score_pairs, train_critic

    source = pairs_of_nats(4.0)
    x, y = source.sample(np.random.default_rng(5), 30)
    critics = [train_critic(source.sample, name, steps=40, seed=(0,)) for name in ("dv", "infonce")]
    with torch.no_grad():
        of_dv, of_infonce = (score_pairs(critic, x, y) for critic in critics)
    difference = of_dv - of_infonce
    assert (difference - difference.mean()).abs().max() > 0.1


def test_the_shorter_vectors_are_filled_up():
    from mmil_cli.core.critics.mlp import MLP
    from mmil_cli.stages.mi_critic import score_pairs

    torch.manual_seed(0)
    critic = MLP(3, hidden=4, second=2)
    x, y = np.random.default_rng(0).normal(size=(5, 3)), np.random.default_rng(1).normal(size=(5, 2))
    filled = np.concatenate([y, np.zeros((5, 1))], axis=1)
    logits = score_pairs(critic, x, y)
    assert torch.equal(logits, score_pairs(critic, x, filled))
    one = critic(
        torch.tensor(x[2]).float().view(1, 1, 3) / 3**0.5, torch.tensor(filled[4]).float()[None] / 3**0.5
    )
    assert float(logits[2, 4].detach()) == pytest.approx(float(one.detach()), abs=1e-6)


def test_intervals_over_seeds_are_students():
    from mmil_cli.stages.mi_critic import over_seeds

    found = over_seeds(np.array([1.0, 2.0, 3.0]))
    assert found.value == 2
    assert found.high - 2 == pytest.approx(4.302653 / np.sqrt(3), abs=1e-5)
    assert 2 - found.low == pytest.approx(found.high - 2)
    single = over_seeds(np.array([1.5]))
    assert single.value == 1.5
    assert np.isnan([single.low, single.high]).all()


def test_the_estimated_sum_lies_on_the_side_of_the_global_information_where_it_belongs():
    from mmil_cli.phantom.information import STUDIES
    from mmil_cli.stages.bench_mi_studies import StudyEstimator, estimate_studies, truth_of
    from mmil_cli.stages.mi_critic import Estimator

    estimator = Estimator(objective="dv", steps=80, reads=10)
    names = ("findings over two regions", "one finding told twice")
    critics = []
    rows = estimate_studies(
        {name: STUDIES[name] for name in names},
        estimators={"dv": StudyEstimator(local=estimator, whole=replace(estimator, steps=250))},
        num_seeds=1,
        seed=0,
        on_critic=lambda: critics.append(None),
    )
    assert len(critics) == 2 * (2 * 4 + 1)
    assert [row.truth.verdict for row in rows] == ["a lower bound", "above"]
    for row in rows:
        assert row.truth == truth_of(STUDIES[row.source])
        assert row.gap.value == pytest.approx(row.global_information.value - row.sum_of_local.value)
        assert row.gap.value == pytest.approx(row.truth.gap, abs=0.3)


def test_the_gap_is_what_the_docstring_says():
    from mmil_cli.phantom.information import STUDIES
    from mmil_cli.stages.bench_mi_studies import truth_of

    verdicts = []
    for source in STUDIES.values():
        truth = truth_of(source)
        terms = truth.other_regions + truth.repetition_given_image - truth.repetition
        assert truth.gap == pytest.approx(terms, abs=1e-9)
        verdicts.append(truth.verdict)
    assert set(verdicts) == {"equal", "a lower bound", "above"}


@pytest.fixture
def tiny(monkeypatch):
    """A run of the fewest steps there can be."""
    from mmil_cli.phantom.information import STUDIES
    from mmil_cli.stages import bench_mi

    size = replace(
        bench_mi.QUICK, truths=(1.0, 2.0), pair_steps=2, local_steps=1, global_steps=2, reads=2, best_reads=2
    )
    monkeypatch.setattr(bench_mi, "QUICK", size)
    monkeypatch.setattr(bench_mi, "STUDIES", {"findings apart": STUDIES["findings apart"]})
    return bench_mi


def test_a_run_has_every_estimator_and_writes_what_it_returns(tiny, tmp_path):
    from mmil_cli.core.losses import ESTIMATES

    told = []
    result = tiny.run(tmp_path, quick=True, seed=3, on_progress=lambda *counts: told.append(counts))
    assert told == [(number, len(told)) for number in range(1, len(told) + 1)]
    assert len(told) == 2 * (2 * len(ESTIMATES) + 2 * 9)
    assert [(row.batch, row.truth, row.objective) for row in result.pairs] == [
        (batch, pytest.approx(truth), name)
        for batch in (64, 256)
        for truth in (1.0, 2.0)
        for name in ESTIMATES
    ]
    assert [row.objective for row in result.studies] == ["dv", "infonce"]

    record = json.loads((tmp_path / "bench_mi.json").read_text())
    assert record["provenance"]["command"] == "mmil bench mi --quick --seed 3"
    for stored, row in zip(record["pairs"], result.pairs, strict=True):
        assert stored["bias"] == row.estimate.value - row.truth
        assert (stored["deviation"], stored["best"]) == (row.deviation, row.best)
    assert record["studies"][0]["truth"]["global_information"] == pytest.approx(2.043, abs=1e-3)


def test_the_seed_decides_everything(tiny, tmp_path):
    first, again, other = (
        tiny.run(tmp_path / name, quick=True, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert (first.pairs, first.studies) == (again.pairs, again.studies)
    assert first.pairs[0].estimate != other.pairs[0].estimate
    assert first.pairs[0].best != other.pairs[0].best
    assert first.studies[0].gap != other.studies[0].gap


def test_the_stored_result_is_of_the_present_code():
    from mmil_cli.core.losses import ESTIMATES
    from mmil_cli.phantom.information import STUDIES
    from mmil_cli.stages.bench_mi import FULL, READ_BATCHES, STUDY_OBJECTIVES
    from mmil_cli.stages.bench_mi_studies import truth_of

    stored = json.loads(STORED.read_text())
    assert stored["provenance"]["command"] == "mmil bench mi --seed 0"
    assert [(row["batch"], round(row["truth"], 6), row["objective"]) for row in stored["pairs"]] == [
        (batch, truth, name) for batch in READ_BATCHES for truth in FULL.truths for name in ESTIMATES
    ]
    assert [(row["source"], row["objective"]) for row in stored["studies"]] == [
        (source, name) for source in STUDIES for name in STUDY_OBJECTIVES
    ]
    for row in stored["studies"]:
        assert row["truth"]["gap"] == pytest.approx(truth_of(STUDIES[row["source"]]).gap, abs=1e-9)


def test_the_stored_result_shows_what_it_is_for():
    stored = json.loads(STORED.read_text())
    small = {(round(row["truth"], 6), row["objective"]): row for row in stored["pairs"] if row["batch"] == 64}
    assert small[6.0, "infonce"]["estimate"]["value"] < small[6.0, "infonce"]["ceiling"]
    assert small[6.0, "dv"]["estimate"]["low"] > small[6.0, "infonce"]["ceiling"]
    for row in stored["studies"]:
        if row["truth"]["gap"] > 0.01:
            assert row["gap"]["low"] > 0, row["source"]
        elif row["truth"]["gap"] < -0.01:
            assert row["gap"]["high"] < 0, row["source"]
