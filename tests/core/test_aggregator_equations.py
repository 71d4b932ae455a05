"""Every registered region aggregator equals its equation in loops, and reaches its limits."""

import itertools
import math

import pytest
import torch
from score_parts import changed, make_aggregator, make_critic, make_instances, units
from slow_aggregators import slow_scores, variants
from torch.nn import functional as F

INFINITE = 1e5  # beside cosines


def pytest_generate_tests(metafunc):
    from mmil_cli.core.aggregators import AGGREGATORS
    from mmil_cli.core.critics import CRITICS

    if "variant" in metafunc.fixturenames:
        cases = [(name, options) for name in AGGREGATORS for options in variants(name)]
        metafunc.parametrize("variant", cases, ids=str)
    if "critic" in metafunc.fixturenames:
        metafunc.parametrize("critic", [make_critic(name) for name in CRITICS], ids=list(CRITICS))


def close(found, expected, *, atol=1e-10):
    torch.testing.assert_close(found, expected, atol=atol, rtol=1e-8)


@torch.no_grad()
def test_equals_its_equation_pair_by_pair(variant, critic):
    """Images of seven, of two and of no regions; sentences of four, of three, of one and of no words."""
    name, options = variant
    aggregator = make_aggregator(name, **options)
    mask = torch.tensor([[True] * 7, [False, True, False, False, True, False, False], [False] * 7])
    word_mask = torch.arange(4) < torch.tensor([[4], [0], [1], [3], [4]])
    instances = changed(make_instances(critic), mask=mask, word_mask=word_mask)
    close(aggregator(instances), slow_scores(name, aggregator, instances, **options))


def test_lse_lies_between_mean_and_max_and_reaches_both():
    instances = make_instances(num_regions=30)
    mean, largest = instances.scores.mean(dim=1), instances.scores.amax(dim=1)
    middle = make_aggregator("lse", gamma=5.0)(instances)
    assert (middle > mean).all()
    assert (middle < largest).all()
    close(make_aggregator("lse", gamma=INFINITE)(instances), largest, atol=1e-4)
    variance = instances.scores.var(dim=1, correction=0)  # g = mean + gamma variance / 2 + ...
    close(make_aggregator("lse", gamma=0.01)(instances), mean + 0.005 * variance, atol=1e-5)


@pytest.mark.parametrize("name", ["lse", "gm"])
def test_grows_with_its_scale(name):
    instances = make_instances(num_regions=30)
    scores = [make_aggregator(name, gamma=gamma)(instances) for gamma in (0.1, 1.0, 10.0, 100.0)]
    assert all((low < high).all() for low, high in itertools.pairwise(scores))


@pytest.mark.parametrize("gamma", [0.01, 0.1])
@pytest.mark.parametrize("name", ["lse", "gm", "noisy-and"])
def test_the_smallest_scales_are_exact_in_single_precision(name, gamma):
    """Dividing by a small scale enlarges rounding, so there is a smallest one."""
    aggregator, instances = make_aggregator(name, gamma=gamma), make_instances(num_regions=196)
    single = changed(
        instances,
        critic=make_critic().float(),
        regions=instances.regions.float(),
        sentences=instances.sentences.features.float(),
    )
    exact = aggregator(instances)
    torch.testing.assert_close(aggregator.float()(single).double(), exact, atol=3e-4, rtol=0)


def test_nl_has_the_average_region_and_the_maximum_as_limits():
    instances = make_instances(num_regions=12)
    average = F.normalize(instances.regions.mean(dim=1), dim=-1)
    close(make_aggregator("nl", gamma=0.0)(instances), average @ instances.sentences.features.T)
    close(make_aggregator("nl", gamma=INFINITE)(instances), instances.scores.amax(dim=1))


def test_cross_attention_has_the_average_region_and_the_maximum_as_limits(critic):
    instances = make_instances(critic, num_regions=12)
    pooled = make_aggregator("pooled")(instances)
    close(make_aggregator("cross-attention", gamma=0.0)(instances), pooled)
    close(make_aggregator("cross-attention", gamma=1e6)(instances), instances.scores.amax(dim=1))


def test_max_mean_and_top_k_are_what_they_say(critic):
    instances = make_instances(critic)
    highest = instances.scores.sort(dim=1, descending=True).values
    close(make_aggregator("max")(instances), highest[:, 0])
    close(make_aggregator("mean")(instances), highest.mean(dim=1))
    close(make_aggregator("top-k", k=1)(instances), highest[:, 0])
    close(make_aggregator("top-k", k=3)(instances), highest[:, :3].mean(dim=1))
    close(make_aggregator("top-k", k=100)(instances), highest.mean(dim=1))


def probabilities(aggregator, instances):
    return torch.sigmoid(aggregator.logit(instances.scores))


def test_noisy_or_and_isr_of_one_region_are_its_probability():
    for name in ("noisy-or", "isr"):
        aggregator, instances = make_aggregator(name), make_instances(num_regions=1)
        close(aggregator(instances), probabilities(aggregator, instances)[:, 0])


def test_noisy_or_and_isr_of_two_regions():
    instances = make_instances(num_regions=2)
    for name in ("noisy-or", "isr"):
        aggregator = make_aggregator(name)
        p, q = probabilities(aggregator, instances).unbind(dim=1)
        either, odds = p + q - p * q, p / (1 - p) + q / (1 - q)
        close(aggregator(instances), either if name == "noisy-or" else odds / (1 + odds))


def test_the_generalised_mean_is_a_mean_at_one_and_the_maximum_at_infinity():
    instances = make_instances(num_regions=30)
    mean, largest = make_aggregator("gm", gamma=1.0), make_aggregator("gm", gamma=INFINITE)
    close(mean(instances), probabilities(mean, instances).mean(dim=1))
    close(largest(instances), probabilities(largest, instances).amax(dim=1), atol=1e-4)


@pytest.mark.parametrize(("bias", "share"), [(-60.0, 0.0), (60.0, 1.0)])
def test_noisy_and_runs_from_nothing_to_everything(bias, share):
    aggregator = make_aggregator("noisy-and")
    with torch.no_grad():
        aggregator.logit.bias.fill_(bias)
    close(aggregator(make_instances()), torch.full((3, 5), share, dtype=torch.float64))


def test_noisy_and_is_near_its_threshold_half_way():
    aggregator = make_aggregator("noisy-and", gamma=200.0)
    with torch.no_grad():
        aggregator.threshold.fill_(0.0)  # half of the regions
        aggregator.logit.log_scale.fill_(math.log(1000.0))
        aggregator.logit.bias.fill_(-500.0)  # a region shows it if h > 0.5
    regions = torch.tensor([[[1.0, 0.0]] * shown + [[0.0, 1.0]] * (10 - shown) for shown in (3, 5, 7)])
    sentence = torch.tensor([[1.0, 0.0]]).double()
    found = aggregator(make_instances(regions=regions.double(), sentences=sentence, words=units(1, 1, 2)))
    close(found[:, 0], torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("k", [0, -1])
def test_a_number_of_regions_that_makes_no_sense_is_refused(k):
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match="top-k: k must be a whole number of at least 1"):
        make_aggregator("top-k", k=k)


def test_a_similarity_that_does_not_exist_is_refused():
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match="identity or learned, not 'cosine'"):
        make_aggregator("nl", similarity="cosine")
