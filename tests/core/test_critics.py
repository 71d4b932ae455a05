"""The contract of every registered critic, then the mathematics of each."""

import pytest
import torch
from score_parts import DIM, build, make_critic, units, user_options
from slow_aggregators import SLOW_CRITICS, slow_critic

OTHER = {("mlp", "hidden"): 11, ("mlp", "second"): 7}
"""For each option of a critic a value that is not the tests' own; a missing one fails."""


def pytest_generate_tests(metafunc):
    from mmil_cli.core.critics import CRITICS

    if "critic" in metafunc.fixturenames:
        metafunc.parametrize("critic", [make_critic(name) for name in CRITICS], ids=list(CRITICS))
    if "option" in metafunc.fixturenames:
        options = [(name, option) for name, kind in CRITICS.items() for option in user_options(kind)]
        metafunc.parametrize("option", options, ids=str)


def close(found, expected, **tolerance):
    torch.testing.assert_close(found, expected, **{"atol": 1e-12, "rtol": 1e-9, **tolerance})


def sides():
    return units(3, 7, DIM, seed=1), units(5, DIM, seed=2)


@torch.no_grad()
def test_every_pair_equals_its_equation(critic):
    regions, sentences = sides()
    slow = slow_critic(critic)
    expected = [[[slow(x, y) for y in sentences] for x in image] for image in regions]
    close(critic(regions, sentences), torch.tensor(expected, dtype=torch.float64))


def test_pairs_that_are_given_score_as_among_all(critic):
    regions, sentences = sides()
    found = critic.aligned(regions[:, :5], sentences)  # region u with sentence u
    close(found, critic(regions[:, :5], sentences).diagonal(dim1=1, dim2=2))


def test_a_product_is_one_of_its_left_side(critic):
    regions, sentences = sides()
    if critic.is_product:
        close(critic.left(regions) @ sentences.T, critic(regions, sentences))
    else:
        doubled = critic(2 * regions, sentences) / critic(regions, sentences)
        assert (doubled - 2).abs().max() > 1e-3  # then it is none


def test_empty_sides_give_empty_scores(critic):
    regions, sentences = sides()
    assert critic(regions[:0], sentences).shape == (0, 7, 5)
    assert critic(regions, sentences[:0]).shape == (3, 7, 0)
    assert critic.aligned(regions[:, :0], sentences[:0]).shape == (3, 0)


def test_inputs_are_left_as_they_are(critic):
    regions, sentences = sides()
    kept = regions.clone(), sentences.clone()
    critic(regions, sentences)
    critic.aligned(regions[:, :5], sentences)
    assert (regions == kept[0]).all()
    assert (sentences == kept[1]).all()


def test_gradients_are_those_of_finite_differences(critic):
    regions, sentences = (side.requires_grad_() for side in sides())
    parameters = tuple(critic.parameters())
    assert torch.autograd.gradcheck(lambda x, y, *_: critic(x, y), (regions, sentences, *parameters))
    assert torch.autograd.gradcheck(
        lambda x, y, *_: critic.aligned(x[:, :5], y), (regions, sentences, *parameters)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near_double(critic, dtype):
    regions, sentences = (side.to(dtype) for side in sides())
    exact = critic(regions.double(), sentences.double())
    torch.testing.assert_close(critic(regions, sentences).double(), exact, atol=0.03, rtol=0.03)
    in_single = type(critic)(DIM)
    assert in_single(regions, sentences).isfinite().all()
    assert in_single.aligned(regions[:, :5], sentences).isfinite().all()


def test_every_parameter_gets_a_finite_gradient_that_is_not_zero(critic):
    regions, sentences = sides()
    fresh = type(critic)(DIM).double()  # as it starts
    (fresh(regions.requires_grad_(), sentences) * units(3, 7, 5, seed=4)).sum().backward()
    for name, parameter in fresh.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_has_a_slow_truth_and_says_what_it_is():
    from mmil_cli.core.critics import CRITICS

    assert set(SLOW_CRITICS) == set(CRITICS)
    for kind in CRITICS.values():
        assert kind.equation
        assert kind.source


def test_every_option_changes_the_scores(option):
    from mmil_cli.core.critics import CRITICS

    name, key = option
    regions, sentences = sides()
    usual, other = (
        make_critic(name),
        build(CRITICS[name], **{"hidden": 8, "second": 5, key: OTHER[option]}),
    )
    assert (usual(regions, sentences) - other(regions, sentences)).abs().max() > 1e-3


def test_bilinear_starts_as_the_cosine():
    from mmil_cli.core.critics import CRITICS

    regions, sentences = sides()
    close(CRITICS["bilinear"](DIM).double()(regions, sentences), regions @ sentences.T)


def gradients(scores, inputs):
    return torch.autograd.grad((scores * units(*scores.shape, seed=4)).sum(), inputs)


def test_gradients_of_all_pairs_are_those_of_pairs_one_by_one(critic):
    inputs = (*(side.requires_grad_() for side in sides()), *critic.parameters())
    regions, sentences = inputs[:2]
    one_by_one = [critic.aligned(regions[:, n : n + 1].expand(-1, 5, -1), sentences) for n in range(7)]
    expected = gradients(torch.stack(one_by_one, dim=1), inputs)
    close(gradients(critic(regions, sentences), inputs), expected)


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("numbers", [1, 4 * 5 * (8 + 5) + 1, 10**6])
def test_chunks_of_the_mlp_change_neither_scores_nor_gradients(monkeypatch, keeps, numbers):
    """Whether what the backward pass needs is kept or made again; in chunks of one, four and all regions."""
    from mmil_cli.core.critics import pairs

    critic = make_critic("mlp")
    inputs = (*(side.requires_grad_() for side in sides()), *critic.parameters())
    whole = critic(*inputs[:2])
    expected = (whole, *gradients(whole, inputs))
    monkeypatch.setattr(pairs, "chunk_numbers", lambda device: numbers)
    monkeypatch.setattr(pairs, "fits", lambda *_, **__: keeps)
    found = critic(*inputs[:2])
    close((found, *gradients(found, inputs)), expected)
    assert critic(inputs[0][:0], inputs[1]).shape == (0, 7, 5)


def test_the_mlp_starts_like_one_layer_on_the_concatenated_pair():
    """Weights uniform within 1/sqrt(2 D), and scores of a size that a gradient can do something with."""
    from mmil_cli.core.critics.mlp import MLP

    torch.manual_seed(0)
    critic = MLP(128)
    bound = (2 * 128) ** -0.5
    for layer in (critic.region, critic.sentence):
        assert 0.99 * bound < layer.weight.abs().max() <= bound
    found = critic(units(20, 4, 128, dtype=torch.float32), units(30, 128, seed=1, dtype=torch.float32))
    assert 0.005 < found.std() < 1


def test_the_mlp_has_the_sizes_of_the_released_discriminator():
    from mmil_cli.core.critics.mlp import MLP

    sizes = {
        name: tuple(parameter.shape) for name, parameter in MLP(768).named_parameters() if "weight" in name
    }
    assert sizes == {
        "region.weight": (1024, 768),
        "sentence.weight": (1024, 768),
        "second.weight": (512, 1024),
        "last.weight": (1, 512),
    }


@pytest.mark.parametrize("options", [{"hidden": 0}, {"second": -3}])
def test_a_size_that_makes_no_sense_is_refused(options):
    from mmil_cli.core.critics.mlp import MLP
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=f"mlp: {next(iter(options))} must be a whole number"):
        MLP(DIM, **options)
