"""The contract of every registered region aggregator, then the mathematics of each."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F


def make_instances(
    num_images=3, num_regions=7, num_sentences=5, dim=6, mask=None, seed=0, dtype=torch.float64
):
    from mmil_cli.core.aggregators.instances import Instances
    from mmil_cli.core.critics import Cosine

    generator = torch.Generator().manual_seed(seed)
    regions = F.normalize(torch.randn(num_images, num_regions, dim, generator=generator, dtype=dtype), dim=-1)
    sentences = F.normalize(torch.randn(num_sentences, dim, generator=generator, dtype=dtype), dim=-1)
    return rebuild(Instances, Cosine(), regions, sentences, mask)


def rebuild(kind, critic, regions, sentences, mask=None):
    if mask is None:
        mask = torch.ones(regions.shape[:2], dtype=torch.bool)
    return kind(
        scores=critic(regions, sentences), mask=mask, regions=regions, sentences=sentences, critic=critic
    )


def with_regions(instances, regions, mask=None):
    return rebuild(type(instances), instances.critic, regions, instances.sentences, mask)


def pytest_generate_tests(metafunc):
    """Every registered aggregator is held to the contract, just by being registered."""
    if "aggregator" in metafunc.fixturenames:
        from mmil_cli.core.aggregators import AGGREGATORS

        metafunc.parametrize("aggregator", [kind() for kind in AGGREGATORS.values()], ids=list(AGGREGATORS))


def test_gives_a_score_for_each_image_and_sentence(aggregator):
    assert aggregator(make_instances()).shape == (3, 5)


def test_order_of_regions_does_not_matter(aggregator):
    instances = make_instances()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    permuted = with_regions(instances, instances.regions[:, order])
    torch.testing.assert_close(aggregator(permuted), aggregator(instances))


def test_padding_changes_nothing(aggregator):
    instances = make_instances()
    junk = F.normalize(torch.randn(3, 4, 6, dtype=torch.float64), dim=-1)
    mask = torch.cat([torch.ones(3, 7), torch.zeros(3, 4)], dim=1).bool()
    padded = with_regions(instances, torch.cat([instances.regions, junk], dim=1), mask)
    torch.testing.assert_close(aggregator(padded), aggregator(instances))


def test_one_region_gives_its_instance_score(aggregator):
    instances = make_instances(num_regions=1)
    torch.testing.assert_close(aggregator(instances), instances.scores[:, 0])


def test_a_bag_of_equal_regions_scores_as_one_of_them(aggregator):
    one = make_instances(num_regions=1)
    many = with_regions(one, one.regions.expand(-1, 9, -1).contiguous())
    torch.testing.assert_close(aggregator(many), one.scores[:, 0])


def test_an_empty_bag_scores_zero_with_finite_gradients(aggregator):
    instances = make_instances()
    regions = instances.regions.clone().requires_grad_()
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[1] = False
    scores = aggregator(with_regions(instances, regions, mask))
    scores.sum().backward()
    assert (scores[1] == 0).all()
    assert regions.grad.isfinite().all()
    assert regions.grad[0].abs().sum() > 0


def test_lies_within_the_range_of_a_cosine(aggregator):
    scores = aggregator(make_instances(num_regions=20))
    assert scores.abs().max() <= 1 + 1e-12


def test_gradients_are_those_of_finite_differences(aggregator):
    instances = make_instances(num_images=2, num_regions=4, num_sentences=3, dim=4)

    def score(regions, sentences):
        return aggregator(rebuild(type(instances), instances.critic, regions, sentences))

    inputs = (instances.regions.clone().requires_grad_(), instances.sentences.clone().requires_grad_())
    assert torch.autograd.gradcheck(score, inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near_double(aggregator, dtype):
    exact = make_instances()
    half = rebuild(type(exact), exact.critic, exact.regions.to(dtype), exact.sentences.to(dtype))
    scores = aggregator(half)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores.double(), aggregator(exact), atol=0.05, rtol=0.05)


def slow_lse(instances, gamma):
    images, regions, sentences = instances.scores.shape
    result = torch.zeros(images, sentences, dtype=torch.float64)
    for i in range(images):
        for j in range(sentences):
            total = sum(math.exp(gamma * instances.scores[i, n, j].item()) for n in range(regions))
            result[i, j] = math.log(total / regions) / gamma
    return result


def slow_nl(instances, gamma):
    images, regions, sentences = instances.scores.shape
    result = torch.zeros(images, sentences, dtype=torch.float64)
    for i in range(images):
        x = instances.regions[i]
        for j in range(sentences):
            y = instances.sentences[j]
            k = max(range(regions), key=lambda n: float(x[n] @ y))
            powers = [math.exp(gamma * float(x[n] @ x[k])) for n in range(regions)]
            z = sum(power / sum(powers) * x[n] for n, power in enumerate(powers))
            result[i, j] = (z / z.norm()) @ y
    return result


@pytest.mark.parametrize("gamma", [0.5, 4.0, 30.0])
def test_lse_equals_its_equation(gamma):
    from mmil_cli.core.aggregators.lse import LogSumExp

    instances = make_instances()
    torch.testing.assert_close(LogSumExp(gamma=gamma)(instances), slow_lse(instances, gamma))


@pytest.mark.parametrize("gamma", [0.0, 3.0, 25.0])
def test_nl_equals_its_equation(gamma):
    from mmil_cli.core.aggregators.nl import NonLocal

    instances = make_instances()
    torch.testing.assert_close(NonLocal(gamma=gamma)(instances), slow_nl(instances, gamma))


def test_lse_lies_between_mean_and_max_and_reaches_both():
    from mmil_cli.core.aggregators.lse import LogSumExp

    instances = make_instances(num_regions=30)
    mean, largest = instances.scores.mean(dim=1), instances.scores.amax(dim=1)
    middle = LogSumExp(gamma=5.0)(instances)
    assert (middle > mean).all()
    assert (middle < largest).all()
    torch.testing.assert_close(LogSumExp(gamma=1e-5)(instances), mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(LogSumExp(gamma=1e5)(instances), largest, atol=1e-4, rtol=0)


def test_lse_grows_with_its_scale():
    from mmil_cli.core.aggregators.lse import LogSumExp

    instances = make_instances(num_regions=30)
    scores = [LogSumExp(gamma=gamma)(instances) for gamma in (0.1, 1.0, 10.0, 100.0)]
    assert all((low <= high).all() for low, high in itertools.pairwise(scores))


def test_nl_has_the_average_region_and_the_maximum_as_limits():
    from mmil_cli.core.aggregators.nl import NonLocal

    instances = make_instances(num_regions=12)
    average = F.normalize(instances.regions.mean(dim=1), dim=-1)
    torch.testing.assert_close(NonLocal(gamma=0.0)(instances), average @ instances.sentences.T)
    torch.testing.assert_close(NonLocal(gamma=1e5)(instances), instances.scores.amax(dim=1))


def test_max_and_mean_are_what_they_say():
    from mmil_cli.core.aggregators.max import Max
    from mmil_cli.core.aggregators.mean import Mean

    instances = make_instances()
    torch.testing.assert_close(Max()(instances), instances.scores.max(dim=1).values)
    torch.testing.assert_close(Mean()(instances), instances.scores.mean(dim=1))


@pytest.mark.parametrize(
    ("name", "gamma"), [("lse", 0.0), ("lse", -1.0), ("lse", math.inf), ("nl", -0.1), ("nl", math.nan)]
)
def test_a_scale_that_makes_no_sense_is_refused(name, gamma):
    from mmil_cli.core.aggregators import AGGREGATORS
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match="gamma"):
        AGGREGATORS[name](gamma=gamma)
