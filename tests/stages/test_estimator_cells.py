"""Cells of estimators: what is read of known pairs, and that each setting counts."""

import math
from pathlib import Path

import numpy as np
import pytest

FAST = {"nats": [1.0], "steps": 5, "reads": 4}


def values(settings, seed=0):
    from mmil_cli.stages.study.estimator_cells import run
    from mmil_cli.stages.study.kinds import CellPlace

    found = run(settings, CellPlace(folder=Path("nowhere"), seed=seed))
    return {figure.metric: figure.value for figure in found}


def without_times(found):
    return {name: value for name, value in found.items() if name != "mi/seconds"}


def test_a_cell_comes_to_what_it_declares_and_its_means_are_means():
    from mmil_cli.stages.study.estimator_cells import metrics

    settings = {**FAST, "nats": [0.5, 2.0]}
    found, declared = values(settings), metrics(settings, offers=None)
    assert set(found) == set(declared)
    assert [name for name, metric in declared.items() if metric.is_time] == ["mi/seconds"]
    for name in ("bias", "error", "deviation"):
        each = [found[f"mi/{nats}/{name}"] for nats in ("0.5", "2")]
        assert found[f"mi/{name}"] == pytest.approx(np.mean(each))
    for nats in ("0.5", "2"):
        bias, deviation = found[f"mi/{nats}/bias"], found[f"mi/{nats}/deviation"]
        assert found[f"mi/{nats}/error"] == pytest.approx(math.sqrt(bias**2 + deviation**2 * 3 / 4))


def test_a_trained_estimator_comes_near_the_truth():
    found = values({"score.objective": "dv", "score.critic": "bilinear", "nats": [1.0], "steps": 200})
    assert -0.3 < found["mi/1/bias"] < 0.1
    untrained = values({"score.objective": "dv", "score.critic": "bilinear", "nats": [1.0], "steps": 1})
    assert untrained["mi/1/bias"] < -0.6


def test_the_cube_keeps_the_information_but_not_the_pairs():
    from mmil_cli.phantom.information import CorrelatedGaussians
    from mmil_cli.stages.study.estimator_cells import sampler

    source = CorrelatedGaussians.of_information(1.0, dim=2)
    plain, cubed = (sampler(pairs, source)(np.random.default_rng(0), 50) for pairs in ("gaussian", "cubic"))
    np.testing.assert_array_equal(plain[0], cubed[0])
    np.testing.assert_allclose(np.cbrt(cubed[1]), plain[1])  # undone, so nothing is lost


@pytest.mark.parametrize("critic", ["cosine", "bilinear", "mlp(hidden=8, second=4)"])
def test_the_critic_is_its_registered_one_on_two_encoders(critic):
    import torch
    from torch.nn import functional as F

    from mmil_cli.stages.study.tower_critic import TowerCritic

    torch.manual_seed(0)
    found = TowerCritic(3, critic=critic)
    x, y = torch.randn(4, 1, 3), torch.randn(5, 3)
    scores = found(x, y)
    for i in range(4):
        for j in range(5):
            first = F.normalize(found.first(x[i] * 3**0.5), dim=-1)
            second = F.normalize(found.second(y[j : j + 1] * 3**0.5), dim=-1)
            one = found.critic(first[None], second)[0, 0, 0] / 0.07
            torch.testing.assert_close(scores[i, 0, j], one, rtol=1e-4, atol=1e-5)
    scores.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in found.parameters())


@pytest.mark.parametrize(
    ("key", "value"),
    [("score.objective", "nwj"), ("score.critic", "cosine"), ("pairs", "cubic"), ("nats", [2.0]), ("dim", 2),
     ("steps", 9), ("reads", 6)],
)  # fmt: skip
def test_every_setting_changes_the_outcome(key, value):
    assert without_times(values(FAST)) != without_times(values({**FAST, key: value}))


def test_a_seed_gives_the_same_figures():
    assert without_times(values(FAST)) == without_times(values(FAST))
    assert without_times(values(FAST)) != without_times(values(FAST, seed=1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score.objective": "hinge"}, "hinge.*which estimates no information.*dv"),
        ({"score.critic": "cosin"}, "unknown critic 'cosin'"),
        ({"objective": "dv"}, "no setting 'objective'.*score.objective"),
        ({"nats": []}, "nats is"),
        ({"nats": [-1.0]}, "nats"),
        ({"pairs": "uniform"}, "pairs is 'uniform'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    from mmil_cli.errors import UsageError
    from mmil_cli.stages.study.estimator_cells import check

    with pytest.raises(UsageError, match=message):
        check(settings, offers=None)


def test_seconds_and_work_follow_the_steps():
    from mmil_cli.stages.study.estimator_cells import seconds, work
    from mmil_cli.stages.study.kinds import CellPlace

    assert work({**FAST, "steps": 50}, data=None) == 10 * work(FAST, data=None)
    assert seconds(FAST, CellPlace(folder=Path("nowhere"), seed=0)) > 0
