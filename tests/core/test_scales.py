"""Scales: fixed, learned within bounds, and calibrated until the wanted number of regions counts."""

import math

import pytest
import torch
from score_parts import DIM, make_bags, make_instances, units

CALIBRATED = ["lse", "nl", "cross-attention", "gm"]
NUM_REGIONS = 60


def make_scale(setting, **options):
    from mmil_cli.core.scales import Scale

    return Scale(setting, **{"name": "part: gamma", "default": 5.0, **options})


def build(expression, **options):
    from mmil_cli.core.build_score import build_score

    return build_score(expression, dim=DIM, **options).double()


def batch(*, seed=0, spread=1.0):
    """Bags whose regions lie around one direction of the image, the nearer the smaller the spread."""
    from dataclasses import replace

    from mmil_cli.core.losses.pairing import pair_batch

    regions, reports = make_bags(((0, 1), (2,), (3, 4), (1,)), num_regions=NUM_REGIONS)
    features = units(4, 1, DIM, seed=seed + 100) + spread * units(4, NUM_REGIONS, DIM, seed=seed + 200)
    regions = replace(regions, features=features / features.norm(dim=-1, keepdim=True))
    return regions, reports, pair_batch(torch.arange(4), torch.arange(4))


def read(score, **options):
    """The readings of a batch."""
    regions, reports, _ = batch(**options)
    return {name: value.item() for name, value in score.readings(regions, reports.sentences).items()}


@pytest.mark.parametrize("value", [0.0, 0.3, 5.0, 1e6])
def test_a_fixed_scale_is_its_number_and_nothing_to_train_or_save(value):
    scale = make_scale(value)
    assert scale().item() == pytest.approx(value)
    assert list(scale.parameters()) == []
    assert scale.state_dict() == {}


def test_a_learned_scale_starts_where_it_is_told():
    assert make_scale("learned")().item() == pytest.approx(5)
    assert make_scale("learned(start=7)")().item() == pytest.approx(7)
    assert make_scale("learned(start=0.02, low=0.01, high=1e3)")().item() == pytest.approx(0.02)


@pytest.mark.parametrize(("sign", "bound"), [(1, 2.0), (-1, 50.0)])
def test_a_learned_scale_never_leaves_its_bounds_and_comes_back(sign, bound):
    scale = make_scale("learned(start=5, low=2, high=50)")
    optimiser = torch.optim.SGD(scale.parameters(), lr=1.0)
    for direction, steps in ((sign, 8), (-sign, 8)):
        for _ in range(steps):
            optimiser.zero_grad()
            (direction * scale().log()).backward()
            optimiser.step()
            assert 2 - 1e-5 <= scale().item() <= 50 + 1e-4
        if direction == sign:
            assert scale().item() == pytest.approx(bound)
    assert scale().item() != pytest.approx(bound)


def test_the_gradient_of_a_learned_scale_is_that_of_its_logarithm():
    scale = make_scale("learned(start=3)")
    scale().square().backward()
    assert scale.log_value.grad.item() == pytest.approx(2 * 3 * 3, rel=1e-5)


@pytest.mark.parametrize("name", CALIBRATED)
@pytest.mark.parametrize("target", [3.0, 20.0])
def test_auto_reaches_the_wanted_number_of_regions_at_the_first_batch(name, target):
    score = build(f"{name}(gamma=auto(regions={target}, high=1000))")
    score.loss(*batch())
    found = read(score)
    assert found[f"{name}/effective_regions"] == pytest.approx(target, rel=1e-3)
    assert found[f"{name}/gamma"] == pytest.approx(score.terms[name].aggregator.gamma().item())
    assert read(score, seed=7)[f"{name}/effective_regions"] == pytest.approx(target, rel=0.35)


@pytest.mark.parametrize("name", CALIBRATED)
def test_auto_follows_the_features_slowly(name):
    score = build(f"{name}(gamma=auto(regions=8, high=1000))")
    score.loss(*batch(spread=2.0))
    before = read(score, spread=2.0)[f"{name}/gamma"]
    off = abs(math.log(read(score, spread=0.7)[f"{name}/effective_regions"] / 8))
    assert off > 0.2
    score.loss(*batch(spread=0.7))
    after_one = read(score, spread=0.7)[f"{name}/gamma"]
    assert abs(math.log(after_one / before)) == pytest.approx(0.05 * off, rel=1e-3)
    instances = make_instances(regions=batch(spread=0.7)[0].features)
    for _ in range(150):
        score.terms[name].calibrate(instances)
    assert read(score, spread=0.7)[f"{name}/effective_regions"] == pytest.approx(8, rel=0.05)


def test_auto_without_a_number_aims_at_eight_regions():
    score = build("lse(gamma=auto)")
    score.loss(*batch())
    assert read(score)["lse/effective_regions"] == pytest.approx(8, rel=1e-3)


@pytest.mark.parametrize(("target", "bound"), [(1.0, 30.0), (NUM_REGIONS, 2.0), (10.0 * NUM_REGIONS, 2.0)])
def test_auto_stays_within_its_bounds_if_the_number_cannot_be_had(target, bound):
    score = build(f"lse(gamma=auto(regions={target}, low=2, high=30))")
    for _ in range(5):
        score.loss(*batch())
        assert read(score)["lse/gamma"] == pytest.approx(bound, rel=1e-4)


def test_bounds_need_not_hold_the_default_of_a_scale_that_is_calibrated():
    for bounds in ("low=20, high=60", "low=0.1, high=2"):
        score = build(f"lse(gamma=auto(regions=8, {bounds}))")
        assert score.terms["lse"].aggregator.gamma().item() in (pytest.approx(20), pytest.approx(2))


@pytest.mark.parametrize(("setting", "number"), [("auto", 2.0), ("auto(reports=3)", 3.0)])
def test_a_temperature_is_calibrated_by_the_reports_an_image_spreads_over(setting, number):
    score = build(f"max(temperature={setting})")
    score.loss(*batch())
    regions, reports, _ = batch()
    shares = score(regions, reports)["max"].logits.softmax(dim=1)
    spread = torch.special.entr(shares).sum(dim=1).exp().mean()
    assert spread.item() == pytest.approx(number, rel=1e-3)


def test_calibration_is_saved_and_goes_on_from_there():
    score = build("lse(gamma=auto(regions=4), temperature=auto)")
    score.loss(*batch(spread=2.0))
    copy = build("lse(gamma=auto(regions=4), temperature=auto)")
    copy.load_state_dict(score.state_dict())
    assert read(copy, spread=0.7) == read(score, spread=0.7)
    for each in (score, copy):
        each.loss(*batch(spread=0.7))  # a small step, no new search
    assert read(copy, spread=0.7) == read(score, spread=0.7)
    assert read(copy, spread=0.7)["lse/effective_regions"] != pytest.approx(4, rel=0.05)


def test_a_learned_scale_is_saved():
    score = build("lse(gamma=learned(start=9))")
    copy = build("lse(gamma=learned)")
    copy.load_state_dict(score.state_dict())
    assert copy.terms["lse"].aggregator.gamma().item() == pytest.approx(9)


def test_evaluation_calibrates_nothing():
    score = build("lse(gamma=auto, temperature=auto)+nl(gamma=auto)").eval()
    before = {name: value.clone() for name, value in score.state_dict().items()}
    regions, reports, pairing = batch()
    score.loss(regions, reports, pairing)
    score.logits(regions, reports)
    score.chance_loss(pairing)
    assert all((value == before[name]).all() for name, value in score.state_dict().items())


def test_effective_numbers_have_closed_forms():
    from mmil_cli.core.scales import effective_number

    uniform = torch.full((2, 4, 3), 0.25, dtype=torch.float64)
    one = torch.zeros(2, 4, 3, dtype=torch.float64)
    one[:, 1] = 1.0
    halves = torch.zeros(2, 4, 3, dtype=torch.float64)
    halves[:, :2] = 0.5
    for weights, number in ((uniform, 4), (one, 1), (halves, 2), (torch.cat([uniform, one]), 2.5)):
        assert effective_number(weights).item() == pytest.approx(number)


def test_images_without_regions_and_sentences_without_words_do_not_count_as_peaked():
    from mmil_cli.core.scales import effective_number

    weights = torch.full((2, 4, 3), 0.25, dtype=torch.float64)
    weights[1] = 0
    weights[:, :, 2] = 0
    assert effective_number(weights).item() == pytest.approx(4)
    assert effective_number(weights[1:]).item() == 1
    assert effective_number(weights[:, :, :0]).item() == 1


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (-0.1, "part: gamma must be a number from 0 to 1e\\+06, not -0.1"),
        (math.inf, "not inf"),
        (math.nan, "not nan"),
        ("soft", "must be a number, learned or auto, not 'soft'"),
        ("lerned", "did you mean 'learned'"),
        ("learned(regions=3)", "learned takes numbers for start, low, high, not 'regions'"),
        ("auto(start=3)", "auto takes numbers for regions, low, high, not 'start'"),
        ("learned(start=200)", "0.01 <= low <= start <= high <= 1e\\+06 must hold, .*start=200, high=100"),
        ("learned(low=0)", "must hold, not low=0,"),
        ("learned(start=2, low=3)", "must hold, not low=3, start=2"),
        ("auto(low=5, high=1)", "must hold, not low=5,"),
        ("learned(high=1e400)", "must hold"),
        ("auto(regions=0.5)", "the wanted effective number must be 1 or more, not 0.5"),
        ("auto(regions=1e400)", "the wanted effective number must be 1 or more, not inf"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(setting, says):
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=says):
        make_scale(setting)
