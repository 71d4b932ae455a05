"""Streamed pooling equals the dense one, values and gradients, and never holds all instance scores."""

import pytest
import torch
from score_parts import make_aggregator, make_critic, make_instances, units
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SIZES = torch.tensor([[7], [3], [0], [1], [7]])  # real regions of five images
CHUNKS = [1, 35, 3 * 35 + 1, 10**9]


def pytest_generate_tests(metafunc):
    from mmil_cli.core.aggregators import AGGREGATORS
    from mmil_cli.core.critics import CRITICS

    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", [name for name, kind in AGGREGATORS.items() if kind.streams])
    if "product" in metafunc.fixturenames:
        metafunc.parametrize("product", [name for name, kind in CRITICS.items() if kind.is_product])


def streamed(instances, chunk_elements):
    from mmil_cli.core.aggregators.instances import StreamedInstances

    return StreamedInstances(
        regions=instances.regions,
        mask=instances.mask,
        sentences=instances.sentences,
        critic=instances.critic,
        chunk_elements=chunk_elements,
    )


def instances_of(product, *, regions=None, sentences=None, dtype=torch.float64):
    critic = make_critic(product).to(dtype)
    regions = units(5, 7, 6, seed=1) if regions is None else regions
    sentences = units(11, 6, seed=2) if sentences is None else sentences
    return make_instances(
        critic,
        regions=regions.to(dtype).requires_grad_(),
        sentences=sentences.to(dtype).requires_grad_(),
        mask=torch.arange(7) < SIZES,
    )


def result(aggregator, instances):
    """Scores, and the gradients of features and of all parameters."""
    scores = aggregator(instances)
    weights = units(*scores.shape, seed=4).to(scores.dtype)
    leaves = (instances.regions, instances.sentences.features)
    parameters = (*aggregator.parameters(), *instances.critic.parameters())
    return (scores, *torch.autograd.grad((weights * scores).sum(), leaves + parameters))


def close(found, expected, *, atol=1e-11, rtol=1e-8):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=atol, rtol=rtol)


@pytest.mark.parametrize("chunk_elements", CHUNKS)
def test_equals_the_dense_form(name, product, chunk_elements):
    instances, aggregator = instances_of(product), make_aggregator(name)
    close(result(aggregator, streamed(instances, chunk_elements)), result(aggregator, instances))


@pytest.mark.parametrize("scaled", ["lse", "nl"])
@pytest.mark.parametrize("start", [0.02, 1.0, 60.0])
def test_learned_scales_get_the_same_gradient(scaled, product, start):
    aggregator = make_aggregator(scaled, gamma=f"learned(start={start},low=0.01)")
    instances = instances_of(product)
    found, expected = result(aggregator, streamed(instances, 40)), result(aggregator, instances)
    assert expected[3].abs() > 0
    close(found, expected, atol=1e-9)


def test_single_precision_is_as_near_to_double_as_the_dense_form(name, product):
    aggregator = make_aggregator(name)
    exact = result(aggregator, instances_of(product))
    found = result(aggregator.float(), streamed(instances_of(product, dtype=torch.float32), 40))
    close([value.double() for value in found], exact, atol=2e-5, rtol=2e-5)


def test_terms_that_share_a_pass_do_not_disturb_each_other(product):
    """lse leaves the critical regions that it passed by to max and nl."""
    parts = [make_aggregator(name) for name in ("lse", "nl", "max", "mean")]

    def added(instances):
        return sum(part(instances) for part in parts)

    instances = instances_of(product)
    leaves = (instances.regions, instances.sentences.features)
    for kind in (instances, streamed(instances, 40)):
        alone = sum(part(streamed(instances, 40)) for part in parts)
        close([added(kind)], [alone])
        close(
            torch.autograd.grad(added(kind).square().sum(), leaves),
            torch.autograd.grad(alone.square().sum(), leaves),
        )


def test_of_regions_that_tie_the_first_is_taken(name):
    """Scores of small whole numbers are exact, so ties are ties in both forms."""
    generator = torch.Generator().manual_seed(0)
    regions = torch.randint(-1, 2, (5, 7, 6), generator=generator).double()
    sentences = torch.randint(-1, 2, (11, 6), generator=generator).double()
    exact = instances_of("cosine", regions=regions, sentences=sentences)
    assert ((exact.scores == exact.scores.amax(dim=1, keepdim=True)).sum(dim=1) > 1).any()
    expected = result(make_aggregator(name), exact)
    for chunk_elements in CHUNKS:
        close(result(make_aggregator(name), streamed(exact, chunk_elements)), expected)


def test_no_images_and_no_sentences_give_empty_scores(name, product):
    instances, aggregator = instances_of(product), make_aggregator(name)
    regions, sentences = instances.regions, instances.sentences.features
    for num_images, num_sentences in ((0, 11), (5, 0), (0, 0)):
        some = make_instances(
            instances.critic,
            regions=regions[:num_images],
            mask=instances.mask[:num_images],
            sentences=sentences[:num_sentences],
            words=units(num_sentences, 1, 6),
        )
        scores = aggregator(streamed(some, 40))
        assert scores.shape == (num_images, num_sentences)
        scores.sum().backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near_double(name, product, dtype):
    instances = instances_of(product, dtype=dtype)
    found = result(make_aggregator(name).to(dtype), streamed(instances, 40))
    exact = make_aggregator(name)(instances_of(product))
    torch.testing.assert_close(found[0].double(), exact, atol=0.05, rtol=0.05)
    assert all(value.isfinite().all() for value in found)


def test_backward_without_gradients_of_regions_or_of_sentences(product):
    aggregator = make_aggregator("lse")
    whole = instances_of(product)
    expected = torch.autograd.grad(aggregator(whole).sum(), (whole.regions, whole.sentences.features))
    for kept, place in (("regions", 0), ("sentences", 1)):
        instances = instances_of(product)
        leaf, other = (instances.regions, instances.sentences.features)[:: 1 if place == 0 else -1]
        other.requires_grad_(False)
        (found,) = torch.autograd.grad(aggregator(streamed(instances, 40)).sum(), leaf)
        torch.testing.assert_close(found, expected[place], msg=kept)


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation gives."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return found


def sizes_of(expression, *, streams):
    """The largest tensor of forward and backward, and all that is kept in between."""
    from mmil_cli.core.bags import RegionBag, Sentences
    from mmil_cli.core.build_score import build_score

    score = build_score(expression, dim=4)
    score.chunk_elements = 1600 if streams else 10**9
    regions = RegionBag(
        features=units(3, 16, 4, seed=1).requires_grad_(),
        mask=torch.ones(3, 16, dtype=torch.bool),
        grid=(4, 4),
    )
    sentences = Sentences(features=units(400, 4, seed=2).requires_grad_())
    kept = []
    with Largest() as largest:
        with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x.numel()), x)[1], lambda x: x):
            total = sum(scores.sum() for scores in score.sentence_scores(regions, sentences).values())
        total.backward()
    return largest.elements, sum(kept)


EVERY_INSTANCE = 3 * 16 * 400


@pytest.mark.parametrize(
    "expression", ["lse+nl", "lse(gamma=learned)+max", "mean", "pooled", "cross-attention", "top-k"]
)
def test_no_tensor_has_the_size_of_all_instance_scores(expression):
    largest, kept = sizes_of(expression, streams=True)
    assert largest <= EVERY_INSTANCE / 4
    assert kept <= EVERY_INSTANCE


def test_the_dense_form_would_be_noticed():
    largest, kept = sizes_of("top-k", streams=False)
    assert largest >= EVERY_INSTANCE
    assert kept >= EVERY_INSTANCE
