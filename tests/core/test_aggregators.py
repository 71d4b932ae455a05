"""The contract of every registered region aggregator with every registered critic, by being registered.

Their equations are in test_aggregator_equations.py.
"""

import pytest
import torch
from score_parts import (
    changed,
    make_aggregator,
    make_critic,
    make_instances,
    scale_options,
    units,
    user_options,
)
from slow_aggregators import OTHER, SLOW

NOT_AVERAGED = {"self-attention": "it averages regions that its block has changed"}
"""Global aggregators of sentences whose pooled vector is not the weighted mean of the regions."""


def pytest_generate_tests(metafunc):
    from mmil_cli.core.aggregators import AGGREGATORS
    from mmil_cli.core.critics import CRITICS

    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", list(AGGREGATORS))
    if "local" in metafunc.fixturenames:
        metafunc.parametrize("local", [name for name, kind in AGGREGATORS.items() if kind.level == "local"])
    if "averaging" in metafunc.fixturenames:
        sentence_level = [name for name, kind in AGGREGATORS.items() if not kind.reads_words]
        metafunc.parametrize(
            "averaging",
            [
                name
                for name in sentence_level
                if AGGREGATORS[name].level == "global" and name not in NOT_AVERAGED
            ],
        )
    if "critic" in metafunc.fixturenames:
        metafunc.parametrize("critic", [make_critic(name) for name in CRITICS], ids=list(CRITICS))
    if "option" in metafunc.fixturenames:
        options = [(name, option) for name, kind in AGGREGATORS.items() for option in user_options(kind)]
        metafunc.parametrize("option", options, ids=str)
    if "scale" in metafunc.fixturenames:
        metafunc.parametrize("scale", scale_options(AGGREGATORS), ids=str)


def close(found, expected, **tolerance):
    torch.testing.assert_close(found, expected, **{"atol": 1e-10, "rtol": 1e-8, **tolerance})


def padded(instances, num_regions=4, num_words=3):
    """The same with padded regions and words that hold something all the same."""
    words = instances.sentences.words
    regions = torch.cat([instances.regions, 3 * units(3, num_regions, 6, seed=7)], dim=1)
    return changed(
        instances,
        regions=regions,
        mask=torch.arange(regions.shape[1]).expand(3, -1) < instances.regions.shape[1],
        words=torch.cat([words.features, 3 * units(len(words.mask), num_words, 6, seed=8)], dim=1),
        word_mask=torch.cat([words.mask, torch.zeros(len(words.mask), num_words).bool()], dim=1),
    )


def some_empty(**leaves):
    """Instances whose image 1 has no region and whose sentence 2 has no word."""
    mask, word_mask = torch.ones(3, 7, dtype=torch.bool), torch.ones(5, 4, dtype=torch.bool)
    mask[1], word_mask[2], mask[0, 5:], word_mask[0, 2:] = False, False, False, False
    return changed(make_instances(leaves.pop("critic", None)), mask=mask, word_mask=word_mask, **leaves)


def test_order_of_regions_and_of_words_does_not_matter(name, critic):
    aggregator, instances = make_aggregator(name), make_instances(critic)
    words = instances.sentences.words.features
    shuffled = changed(
        instances, regions=instances.regions[:, [3, 0, 6, 2, 5, 1, 4]], words=words[:, [2, 0, 3, 1]]
    )
    close(aggregator(shuffled), aggregator(instances))


def test_padding_of_regions_and_of_words_changes_nothing(name, critic):
    aggregator, instances = make_aggregator(name), make_instances(critic)
    assert aggregator(instances).shape == (3, 5)
    close(aggregator(padded(instances)), aggregator(instances))
    close(aggregator.weights(padded(instances))[:, :7], aggregator.weights(instances))


def test_a_pair_is_scored_alone(name, critic):
    """No image and no sentence says anything about another pair."""
    aggregator, instances = make_aggregator(name), make_instances(critic)
    words, sentences = instances.sentences.words.features[2:3], instances.sentences.features[2:3]
    alone = changed(
        instances,
        regions=instances.regions[1:2],
        mask=instances.mask[1:2],
        sentences=sentences,
        words=words,
        word_mask=torch.ones(1, 4, dtype=torch.bool),
    )
    close(aggregator(alone)[0, 0], aggregator(instances)[1, 2])


def test_what_is_empty_scores_zero_with_finite_gradients(name, critic):
    aggregator = make_aggregator(name)
    leaves = {
        "regions": units(3, 7, 6, seed=1).requires_grad_(),
        "sentences": units(5, 6, seed=2).requires_grad_(),
        "words": units(5, 4, 6, seed=3).requires_grad_(),
    }
    scores = aggregator(some_empty(critic=critic, **leaves))
    scores.square().sum().backward()
    assert (scores[1] == 0).all()
    assert (scores[:, 2] == 0).all() or not aggregator.reads_words
    for leaf in (*leaves.values(), *aggregator.parameters(), *critic.parameters()):
        assert leaf.grad is None or leaf.grad.isfinite().all()
    assert (leaves["regions"].grad[1] == 0).all()
    assert (leaves["regions"].grad[0, 5:] == 0).all()
    assert (leaves["regions"].grad[0].abs().sum(dim=1) > 0).any()
    critic.zero_grad()


def test_no_images_and_no_sentences_give_empty_scores(name, critic):
    aggregator, instances = make_aggregator(name), make_instances(critic)
    nobody = changed(instances, regions=instances.regions[:0], mask=instances.mask[:0])
    silence = changed(
        instances,
        sentences=instances.sentences.features[:0],
        words=instances.sentences.words.features[:0],
        word_mask=instances.sentences.words.mask[:0],
    )
    assert aggregator(nobody).shape == (0, 5)
    assert aggregator(silence).shape == (3, 0)


def test_one_region_and_copies_score_as_the_class_says(name, critic):
    aggregator, one = make_aggregator(name), make_instances(critic, num_regions=1)
    copies = changed(one, regions=one.regions.expand(-1, 9, -1), mask=torch.ones(3, 9, dtype=torch.bool))
    assert torch.allclose(aggregator(one), one.scores[:, 0]) == aggregator.keeps_one
    assert torch.allclose(aggregator(copies), aggregator(one)) == aggregator.keeps_copies


def test_lies_within_the_range_of_a_cosine_if_the_class_says_so(name):
    aggregator, instances = make_aggregator(name), make_instances(num_regions=20)
    word = changed(  # one region and sentences of four times one word, which is that region
        instances,
        regions=units(3, 1, 6, seed=1),
        mask=torch.ones(3, 1, dtype=torch.bool),
        sentences=units(3, 1, 6, seed=1)[:, 0],
        words=units(3, 1, 6, seed=1).expand(-1, 4, -1),
        word_mask=torch.ones(3, 4, dtype=torch.bool),
    )
    highest = max(aggregator(instances).abs().max(), aggregator(word).abs().max())
    assert (highest <= 1 + 1e-12) == aggregator.is_bounded


def test_weights_are_shares_of_the_real_regions(name, critic):
    aggregator, instances = make_aggregator(name), some_empty(critic=critic)
    weights = aggregator.weights(instances)
    seen = instances.mask.any(dim=1)[:, None].expand(-1, 5).double()
    if aggregator.reads_words:
        seen = seen * instances.sentences.words.mask.any(dim=1).double()
    assert weights.shape == (3, 7, 5)
    assert (weights >= 0).all()
    assert (weights.transpose(1, 2)[~instances.mask[:, None].expand(-1, 5, -1)] == 0).all()
    close(weights.sum(dim=1), seen)


def test_weights_of_a_local_one_are_its_normalised_gradient(local):
    """With basis vectors for sentences (or words), a region's components are its instance scores."""
    aggregator = make_aggregator(local)
    basis, regions = torch.eye(6, dtype=torch.float64), units(3, 7, 6, seed=5).requires_grad_()
    aside = torch.zeros(6, 1, 6, dtype=torch.float64)
    instances = make_instances(regions=regions, sentences=basis, words=aside, mask=torch.arange(7) < _sizes())
    if aggregator.reads_words:
        instances = changed(
            instances,
            sentences=basis[:2],
            words=basis.unflatten(0, (2, 3)),
            word_mask=torch.ones(2, 3, dtype=torch.bool),
        )
    (gradient,) = torch.autograd.grad(aggregator(instances).sum(), regions)
    if aggregator.reads_words:
        gradient = gradient.unflatten(2, (2, 3)).sum(dim=3)
    close(aggregator.weights(instances), gradient / gradient.sum(dim=1, keepdim=True))


def _sizes():
    return torch.tensor([[7], [5], [1]])


def test_weights_of_a_global_one_average_the_regions(averaging, critic):
    aggregator = make_aggregator(averaging)
    instances = make_instances(critic, mask=torch.arange(7) < _sizes())
    pooled = torch.einsum("bnu,bnd->bud", aggregator.weights(instances), instances.regions)
    pooled = pooled / pooled.norm(dim=-1, keepdim=True)
    close(aggregator(instances), critic.aligned(pooled, instances.sentences.features))


def test_gradients_are_those_of_finite_differences(name, critic):
    aggregator = make_aggregator(name)

    def score(regions, sentences, words, *_):
        mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
        return aggregator(
            make_instances(critic, regions=regions, mask=mask, sentences=sentences, words=words)
        )

    parameters = (*aggregator.parameters(), *critic.parameters())
    leaves = (units(2, 4, 6, seed=1), units(3, 6, seed=2), units(3, 2, 6, seed=3))
    inputs = (*(leaf.requires_grad_() for leaf in leaves), *parameters)
    assert torch.autograd.gradcheck(score, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near_double(name, critic, dtype):
    aggregator = make_aggregator(name)
    leaves = {
        "regions": units(3, 7, 6, seed=1, dtype=dtype),
        "sentences": units(5, 6, seed=2, dtype=dtype),
        "words": units(5, 4, 6, seed=3, dtype=dtype),
    }
    scores = aggregator(some_empty(critic=critic, **{key: x.requires_grad_() for key, x in leaves.items()}))
    scores.double().sum().backward()
    exact = aggregator(some_empty(critic=critic, **{key: x.detach().double() for key, x in leaves.items()}))
    torch.testing.assert_close(scores.double(), exact, atol=0.03, rtol=0.03)
    assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in leaves.values())
    assert aggregator.weights(some_empty(critic=critic, **leaves)).isfinite().all()
    critic.zero_grad()


def test_every_parameter_gets_a_finite_gradient_that_is_not_zero(name, critic):
    aggregator, critic = make_aggregator(name), type(critic)(6).double()
    weights = units(3, 5, seed=9)
    regions = units(3, 7, 6, seed=1).requires_grad_()
    (aggregator(some_empty(critic=critic, regions=regions)) * weights).sum().backward()
    for label, parameter in (*aggregator.named_parameters(), *critic.named_parameters()):
        assert parameter.grad is not None, label
        assert parameter.grad.isfinite().all(), label
        assert parameter.grad.abs().sum() > 0, label


@pytest.mark.parametrize("start", [0.2, 30.0])
def test_every_scale_can_be_learned(scale, start, critic):
    """Small ones too, beside images without regions and sentences without words."""
    name, option = scale
    aggregator = make_aggregator(name, **{option: f"learned(start={start},low=0.1)"})
    (aggregator(some_empty(critic=critic)) * units(3, 5, seed=9)).sum().backward()
    gradient = getattr(aggregator, option).log_value.grad
    assert gradient.isfinite()
    assert gradient != 0


def test_every_option_changes_the_scores(option):
    name, key = option
    usual, other = make_aggregator(name), make_aggregator(name, **{key: OTHER[option]})
    instances = make_instances(num_regions=12)
    assert (usual(instances) - other(instances)).abs().max() > 1e-3


def test_every_aggregator_has_a_slow_truth_and_says_what_it_is(name):
    from mmil_cli.core.aggregators import AGGREGATORS

    kind = AGGREGATORS[name]
    assert name in SLOW
    assert kind.level
    assert kind.equation
    assert kind.source
