"""Cells of generated bags: scores learn, the best is not beaten, and every setting counts."""

import math
from pathlib import Path

import numpy as np
import pytest

SMALL = {"grid": 4, "dim": 6, "signal": 0.75, "bags": 200, "steps": 40, "test_bags": 120}
FAST = {**SMALL, "bags": 20, "steps": 2, "test_bags": 20}


def place(seed=0):
    from mmil_cli.stages.study.kinds import CellPlace

    return CellPlace(folder=Path("nowhere"), seed=seed)


def values(settings, seed=0):
    from mmil_cli.stages.study.bag_cells import run

    return {figure.metric: figure.value for figure in run(settings, place(seed))}


@pytest.fixture(scope="module")
def trained():
    return {
        score: values({**SMALL, "score": score})
        for score in ("bayes", "bayes-invariant", "lse", "max", "mean")
    }


def test_a_cell_comes_to_what_it_declares(trained):
    from mmil_cli.stages.study.bag_cells import metrics

    for score, found in trained.items():
        assert set(found) == set(metrics({**SMALL, "score": score}, offers=None))
        assert not any(map(math.isnan, found.values()))


def test_scores_learn_and_none_is_better_than_the_best(trained):
    best, invariant = (trained[name]["bags/auroc"] for name in ("bayes", "bayes-invariant"))
    assert trained["bayes"]["bags/regret"] == 0.0
    for name in ("lse", "max", "mean"):
        assert 0.6 < trained[name]["bags/auroc"] < invariant + 0.01 < best + 0.02
        assert trained[name]["bags/regret"] > trained["bayes-invariant"]["bags/regret"] - 0.02
        assert trained[name]["bags/log_loss"] < math.log(2)
    assert trained["lse"]["bags/auroc"] > trained["mean"]["bags/auroc"] + 0.02


def test_weights_point_as_their_aggregator_says(trained):
    share = 4 / 16
    assert trained["mean"]["regions/auroc"] == 0.5
    assert trained["mean"]["regions/mass"] == pytest.approx(share)
    assert trained["mean"]["regions/pointing"] == pytest.approx(share)
    assert trained["max"]["regions/mass"] == trained["max"]["regions/pointing"] > 0.8
    assert trained["bayes"]["regions/auroc"] > trained["lse"]["regions/auroc"] > 0.8
    # With a known phrase and a cosine the map is the same, whatever pools it.
    assert trained["max"]["regions/phrase_auroc"] == trained["mean"]["regions/phrase_auroc"]


def test_properties_are_those_of_the_equations(trained):
    assert trained["max"]["property/effective_regions"] == pytest.approx(1.0)
    assert trained["mean"]["property/effective_regions"] == pytest.approx(16.0, rel=1e-4)
    assert trained["mean"]["property/counts_extent"] == pytest.approx(0.75, abs=0.02)
    assert -0.3 < trained["max"]["property/counts_extent"] < 0.05
    for name in ("max", "mean", "lse"):
        assert trained[name]["property/monotonicity"] == 1.0
        assert trained[name]["property/uses_correlation"] == pytest.approx(0.0, abs=1e-3)


def aggregators():
    from mmil_cli.core.aggregators import AGGREGATORS

    return AGGREGATORS


def test_every_aggregator_can_be_trained():
    for name in (*aggregators(), "lse(gamma=learned)+nl(gamma=auto)"):
        found = values({**FAST, "score": name, "phrase": "learned"})
        assert 0 <= found["bags/auroc"] <= 1, name


def test_training_changes_every_parameter_that_is_to_be_learned():
    import torch

    from mmil_cli.phantom.bags import BagSource
    from mmil_cli.stages.study.bag_scorer import BagScorer, Training, train_scorer

    source = BagSource(grid=4, dim=6)
    for phrase in ("known", "learned"):
        options = {
            "expression": "lse(gamma=learned)+word-max",
            "critic": "bilinear",
            "phrase": phrase,
            "bags": 50,
        }
        before, after = (
            dict(train_scorer(Training(steps=steps, **options), source, seed=0).named_parameters())
            for steps in (1, 6)
        )
        assert isinstance(before, dict)
        for name, parameter in before.items():
            is_fixed = phrase == "known" and name in ("phrase", "others")
            assert torch.equal(parameter, after[name]) == is_fixed, (phrase, name)
    assert issubclass(BagScorer, torch.nn.Module)


def test_a_seed_gives_the_same_figures_and_its_own_bags():
    first, again, other = (values({**FAST, "score": "max"}, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first["bags/log_loss"] != other["bags/log_loss"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("critic", "bilinear"), ("phrase", "learned"), ("bags", 40), ("steps", 4), ("test_bags", 30),
        ("grid", 8), ("dim", 5), ("side", 1), ("number", 2), ("signal", 0.3), ("together", 0.4),
        ("distractors", 0.3), ("label_noise", 0.3),
    ],
)  # fmt: skip
def test_every_setting_changes_the_outcome(key, value):
    base = {**FAST, "score": "lse"}
    assert values(base) != values({**base, key: value})


def test_the_best_without_places_is_undefined_where_it_is_not_known():
    found = values({**FAST, "score": "bayes-invariant", "together": 0.3})
    assert all(map(math.isnan, found.values()))
    assert set(found) == set(values({**FAST, "score": "bayes-invariant"}))


def test_a_learned_phrase_is_found_from_labels_of_bags():
    found = values({**SMALL, "score": "lse", "phrase": "learned", "steps": 120})
    assert found["regions/phrase_auroc"] > 0.85


def test_calibration_errors_agree_with_their_equation():
    from mmil_cli.stages.study.bag_figures import _calibration_error

    generator = np.random.default_rng(0)
    logits = generator.normal(size=300) * 2
    labels = (generator.random(300) < 1 / (1 + np.exp(-0.3 * logits))).astype(float)
    found = _calibration_error(labels, logits, groups=np.arange(300))
    p = 1 / (1 + np.exp(-logits))
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (p >= low) & (p < low + 0.1)
        if inside.any():
            expected += inside.mean() * abs(labels[inside].mean() - p[inside].mean())
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert abs(np.median(found.draws) - found.value) < 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scores": "lse"}, "generated bags have no setting 'scores'.*score"),
        ({"score": "lsee"}, "unknown aggregator 'lsee'"),
        ({"score": "lse", "critic": "cosin"}, "unknown critic 'cosin'"),
        ({"phrase": "guessed"}, "phrase is 'guessed'"),
        ({"side": 3}, "side is 3; squares must fill"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    from mmil_cli.errors import UsageError
    from mmil_cli.stages.study.bag_cells import check

    with pytest.raises(UsageError, match=message):
        check(settings, offers=None)


def test_seconds_and_work_grow_with_the_steps():
    from mmil_cli.stages.study.bag_cells import seconds, work

    few, many = {**FAST, "score": "max"}, {**FAST, "score": "max", "steps": 400}
    assert work(many, data=None) == 200 * work(few, data=None)
    assert seconds(many, place()) > 0
    assert seconds({**FAST, "score": "bayes"}, place()) > 0
