"""The contract of every registered objective, then what sets each apart.

A registered objective without a slow version of its equation in SLOW fails, and so does one with an option
that has no other value in OTHER.
"""

import inspect
import math

import pytest
import torch

OTHER = {
    ("hinge", "margin"): 0.7,
    ("hinge", "negatives"): "all",
    ("hinge", "warmup"): 1000,
    ("infonce", "image_to_text"): 0.75,
    ("mine", "decay"): 0.5,
    ("sigmoid", "bias"): -1.0,
}


def pytest_generate_tests(metafunc):
    """Every registered objective is held to the contract, just by being registered."""
    from mmil_cli.core.losses import ESTIMATES, OBJECTIVES

    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", list(OBJECTIVES))
    if "bound" in metafunc.fixturenames:
        metafunc.parametrize("bound", list(ESTIMATES))
    if "option" in metafunc.fixturenames:
        options = [(name, option) for name, kind in OBJECTIVES.items() for option in options_of(kind)]
        metafunc.parametrize("option", options, ids=str)


def options_of(kind):
    return {
        name: parameter
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def make(name, **options):
    from mmil_cli.core.losses import OBJECTIVES

    return OBJECTIVES[name](**options).double()


def variants(name):
    """The objective with its defaults, and with each option changed."""
    yield {}
    yield from ({option: value} for (owner, option), value in OTHER.items() if owner == name)


def random_logits(rows=7, columns=7, *, seed=0, scale=2.0):
    return scale * torch.randn(
        rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def grouped(same_group="exclude"):
    """Rows 0, 1 of one study; rows 0, 4, 5 of one text."""
    from mmil_cli.core.losses.pairing import SameGroup, pair_batch

    study, text = torch.tensor([0, 0, 1, 2, 3, 4, 5]), torch.tensor([0, 1, 2, 3, 0, 0, 4])
    return pair_batch(study, text, same_group=SameGroup(same_group))


def masks(positive, negative):
    from mmil_cli.core.losses.pairing import Pairing

    return Pairing(positive=torch.tensor(positive).bool(), negative=torch.tensor(negative).bool())


def ragged():
    """Not square; row 0 has no negative, row 1 no positive, row 2 neither; column 3 has no positive."""
    positive = [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]]
    negative = [[0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1], [1, 0, 0, 0]]
    return masks(positive, negative)


def apart(size):
    from mmil_cli.core.losses.pairing import pair_batch

    return pair_batch(torch.arange(size), torch.arange(size))


def value_and_gradient(objective, logits, pairing):
    leaf = logits.clone().requires_grad_()
    loss = objective(leaf, pairing)
    loss.total.backward()
    return loss.total.detach(), leaf.grad


# The slow versions: lists of numbers, straight from the equations.


def pairs_of(logits, mask):
    return [logits[i][j] for i, row in enumerate(mask) for j, real in enumerate(row) if real]


def softplus(x):
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


def mean(values):
    return sum(values) / len(values)


def slow_dv(logits, positive, negative):
    expectation = mean([math.exp(f) for f in pairs_of(logits, negative)])
    return -(mean(pairs_of(logits, positive)) - math.log(expectation))


def slow_mine(logits, positive, negative, *, decay=0.99):
    return slow_dv(logits, positive, negative)


def slow_nwj(logits, positive, negative):
    expectation = mean([math.exp(f) for f in pairs_of(logits, negative)])
    return -(mean(pairs_of(logits, positive)) - expectation / math.e)


def slow_jsd(logits, positive, negative):
    attract = mean([-softplus(-f) for f in pairs_of(logits, positive)])
    return -(attract - mean([softplus(f) for f in pairs_of(logits, negative)]))


def slow_sigmoid(logits, positive, negative, *, bias=-10.0):
    total, images = 0.0, 0
    for row, is_positive, is_negative in zip(logits, positive, negative, strict=True):
        signs = [(1 if p else -1) if p or n else 0 for p, n in zip(is_positive, is_negative, strict=True)]
        images += any(signs)
        total += sum(
            -math.log(1 / (1 + math.exp(-z * (f + bias)))) for z, f in zip(signs, row, strict=True) if z
        )
    return total / images


def anchors_of(logits, positive, negative):
    """Each row that has a positive, as the logits of its positives and of its negatives."""
    for row, is_positive, is_negative in zip(logits, positive, negative, strict=True):
        if any(is_positive):
            own = [f for f, real in zip(row, is_positive, strict=True) if real]
            yield own, [f for f, real in zip(row, is_negative, strict=True) if real]


def transposed(*tables):
    return [list(zip(*table, strict=True)) for table in tables]


def slow_infonce(logits, positive, negative, *, image_to_text=0.5):
    def one_way(*tables):
        return mean(
            [
                mean([-math.log(math.exp(p) / (math.exp(p) + sum(math.exp(n) for n in others))) for p in own])
                for own, others in anchors_of(*tables)
            ]
        )

    to_text, to_image = one_way(logits, positive, negative), one_way(*transposed(logits, positive, negative))
    return image_to_text * to_text + (1 - image_to_text) * to_image


def slow_hinge(logits, positive, negative, *, margin=0.2, negatives="hardest", warmup=0):
    pool = sum if warmup or negatives == "all" else max  # the batches of these tests all are of the warm-up

    def one_way(*tables):
        return mean(
            [
                mean([pool([max(0.0, margin + n - p) for n in others] or [0.0]) for p in own])
                for own, others in anchors_of(*tables)
            ]
        )

    return one_way(logits, positive, negative) + one_way(*transposed(logits, positive, negative))


SLOW = {
    "dv": slow_dv,
    "hinge": slow_hinge,
    "infonce": slow_infonce,
    "jsd": slow_jsd,
    "mine": slow_mine,
    "nwj": slow_nwj,
    "sigmoid": slow_sigmoid,
}


# The contract.


@pytest.mark.parametrize("pairing", ["exclude", "positive", "ragged"])
def test_equals_its_equation(name, pairing):
    pairing = ragged() if pairing == "ragged" else grouped(pairing)
    logits = random_logits(*pairing.positive.shape)
    for options in variants(name):
        loss = make(name, **options)(logits, pairing)
        slow = SLOW[name](logits.tolist(), pairing.positive.tolist(), pairing.negative.tolist(), **options)
        assert loss.total.item() == pytest.approx(slow, rel=1e-7), options


@pytest.mark.parametrize("same_group", ["exclude", "positive"])
def test_gradients_are_those_of_finite_differences(name, same_group):
    pairing = grouped(same_group)
    for options in variants(name):
        kwargs = {"logits": random_logits(), "pairing": pairing, "options": options}
        assert torch.autograd.gradcheck(
            lambda x, name=name, kw=kwargs: make(name, **kw["options"])(x, kw["pairing"]).total,
            (kwargs["logits"].requires_grad_(),),
        )


def test_parts_are_detached_and_the_total_is_a_number_to_minimise(name):
    pairing = grouped()
    logits = random_logits().requires_grad_()
    loss = make(name)(logits, pairing)
    assert loss.total.shape == ()
    assert loss.total.requires_grad
    assert loss.parts
    assert all(part.shape == () and not part.requires_grad for part in loss.parts.values())
    better = torch.where(pairing.positive, logits + 1, logits - 1)  # positives up, negatives down
    assert make(name)(better, pairing).total < loss.total
    if {"positives", "negatives"} <= set(loss.parts):
        assert loss.parts["positives"] + loss.parts["negatives"] == pytest.approx(loss.total.item())


def test_says_its_equation_and_source_in_a_line(name):
    objective = make(name)
    assert objective.equation
    assert "\n" not in objective.equation
    assert "arXiv" in objective.source
    assert "\n" not in objective.source


@pytest.mark.parametrize("junk", [-3.0, 1e4, math.inf, math.nan])
def test_left_out_pairs_never_matter(name, junk):
    for options in variants(name):
        for pairing in (grouped(), ragged()):
            logits = random_logits(*pairing.positive.shape)
            left_out = ~(pairing.positive | pairing.negative)
            total, grad = value_and_gradient(make(name, **options), logits, pairing)
            again, grad_again = value_and_gradient(
                make(name, **options), logits.masked_fill(left_out, junk), pairing
            )
            assert again == total
            assert (grad_again[left_out] == 0).all()
            assert grad_again.equal(grad)


@pytest.mark.parametrize("place", [(2, 2), (2, 3), (0, 4)], ids=["own", "negative", "same text"])
def test_a_logit_that_is_no_number_is_seen(name, place):
    for options in variants(name):
        logits = random_logits()
        logits[place] = math.nan
        assert make(name, **options)(logits, grouped("positive")).total.isnan()


@pytest.mark.parametrize("missing", ["positive", "negative", "both", "all"])
def test_without_positives_or_negatives_there_is_nothing_to_learn(name, missing):
    empty, everything = torch.zeros(3, 3).bool(), torch.ones(3, 3).bool()
    pairing = {
        "positive": masks(empty.tolist(), everything.tolist()),
        "negative": masks(everything.tolist(), empty.tolist()),
        "both": masks(empty.tolist(), empty.tolist()),
        "all": apart(0),
    }[missing]
    for options in variants(name):
        objective = make(name, **options)
        total, grad = value_and_gradient(objective, random_logits(*pairing.positive.shape), pairing)
        assert total == 0
        assert (grad == 0).all()
        assert all(p.grad is None or (p.grad == 0).all() for p in objective.parameters())


def test_further_positives_are_drawn_together(name):
    pairing = grouped("positive")
    more = pairing.positive & ~torch.eye(7).bool()
    assert more.any()
    for options in variants(name):
        _, grad = value_and_gradient(make(name, **options), random_logits(scale=0.3), pairing)
        assert (grad[more] < 0).all()
        assert (grad[pairing.negative] >= 0).all()


def test_no_row_or_column_is_special(name):
    pairing = grouped("positive")
    logits = random_logits()
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    rows, columns = logits[order], logits[:, order]
    for options in variants(name):
        objective = make(name, **options)
        total = objective(logits, pairing).total
        permuted = objective(rows, masks(pairing.positive[order].tolist(), pairing.negative[order].tolist()))
        torch.testing.assert_close(permuted.total, total)
        permuted = objective(
            columns, masks(pairing.positive[:, order].tolist(), pairing.negative[:, order].tolist())
        )
        torch.testing.assert_close(permuted.total, total)


def test_the_transposed_batch_costs_the_same_where_both_directions_weigh_the_same(name):
    logits, pairing = random_logits(), grouped()
    assert pairing.positive.equal(pairing.positive.T)
    for options in variants(name):
        total = make(name, **options)(logits, pairing).total
        turned = make(name, **options)(logits.T, pairing).total
        if options.get("image_to_text", 0.5) == 0.5:
            torch.testing.assert_close(turned, total)
        else:
            assert abs(turned - total) > 1e-3


@pytest.mark.parametrize("sign", [1, -1])
def test_great_logits_stay_finite(name, sign):
    for options in variants(name):
        for logits in (sign * 1e4 * torch.eye(7), sign * 1e4 * torch.ones(7, 7)):
            for same_group in ("exclude", "positive"):
                objective = make(name, **options).float()
                total, grad = value_and_gradient(objective, logits, grouped(same_group))
                assert total.isfinite()
                assert grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(name, dtype):
    logits = random_logits().to(dtype)
    for options in variants(name):
        objective = make(name, **options).float()
        total, grad = value_and_gradient(objective, logits, grouped())
        expected, exact = value_and_gradient(objective.double(), logits.double(), grouped())
        assert total.dtype == torch.float32
        torch.testing.assert_close(total.double(), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(grad.double(), exact, rtol=1e-2, atol=1e-3)
        great = (60000 * torch.ones(40, 40)).to(dtype)  # near the largest half, and a sum far beyond it
        assert make(name, **options).float()(great, apart(40)).total.isfinite()


def test_every_parameter_learns(name):
    objective = make(name)
    objective(random_logits().requires_grad_(), grouped()).total.backward()
    for parameter in objective.parameters():
        assert parameter.grad.isfinite().all()
        assert (parameter.grad != 0).all()


def test_every_option_changes_the_outcome(option):
    name, key = option
    default, other = make(name), make(name, **{key: OTHER[option]})
    for seed in range(2):  # the average of mine needs a step behind it
        logits = random_logits(seed=seed)
        total, grad = value_and_gradient(default, logits, grouped())
        changed, changed_grad = value_and_gradient(other, logits, grouped())
    assert changed != total or not torch.allclose(changed_grad, grad)


def test_options_out_of_range_are_refused_by_name(option):
    from mmil_cli.core.losses import OBJECTIVES
    from mmil_cli.errors import UsageError

    name, key = option
    wrong = {str: "hardly", int: -1, float: math.nan}[options_of(OBJECTIVES[name])[key].annotation]
    with pytest.raises(UsageError, match=f"^{name}: {key} must be .*, not .*{wrong}"):
        make(name, **{key: wrong})


@pytest.mark.parametrize(
    ("name_", "options"),
    [
        ("infonce", {"image_to_text": 1.1}),
        ("infonce", {"image_to_text": -0.1}),
        ("mine", {"decay": 1.0}),
        ("mine", {"decay": -0.1}),
        ("hinge", {"margin": -0.1}),
        ("hinge", {"margin": math.inf}),
        ("sigmoid", {"bias": math.inf}),
    ],
)
def test_ranges_end_where_they_say(name_, options):
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=f"^{name_}: {next(iter(options))} must be"):
        make(name_, **options)


# What they estimate.


def test_a_bound_is_zero_for_scores_that_know_nothing(bound):
    from mmil_cli.core.losses import ESTIMATES

    best = {"nwj": 1.0}.get(bound, 0.0)  # its best critic is 1 + log of the density ratio
    logits = torch.full((7, 7), best, dtype=torch.float64)
    assert ESTIMATES[bound](logits, grouped()).item() == pytest.approx(0, abs=1e-12)


def test_a_bound_is_zero_without_pairs_to_compare(bound):
    from mmil_cli.core.losses import ESTIMATES

    full, empty = torch.ones(3, 3).tolist(), torch.zeros(3, 3).tolist()
    for pairing in (masks(full, empty), masks(empty, full)):
        assert ESTIMATES[bound](random_logits(3, 3), pairing) == 0


def test_a_bound_reads_the_information_of_a_discrete_source_from_its_density_ratio(bound):
    """x = y uniform on 4 values: I = log 4. Two of each value in the batch, all pairs of PxP in it."""
    from mmil_cli.core.losses import ESTIMATES

    value = torch.arange(4).repeat(2)
    same = value[:, None] == value[None, :]
    ratio = torch.where(same, math.log(4), -60.0).double()  # log p(x, y) / (p(x) p(y)), -inf where unequal
    pairing = masks(torch.eye(8).tolist(), torch.ones(8, 8).tolist())  # a plain sample of PxP
    critic = ratio + 1 if bound == "nwj" else ratio
    estimate = ESTIMATES[bound](critic, pairing).item()
    if bound == "infonce":  # positive once more, 8 negatives of which 2 equal it: log 9 - log 3
        assert estimate == pytest.approx(math.log(9 / 3))
    else:
        assert estimate == pytest.approx(math.log(4))


def test_infonce_never_exceeds_the_log_of_the_choices_and_the_others_do():
    from mmil_cli.core.losses import ESTIMATES

    logits = 50 * torch.eye(8, dtype=torch.float64)
    assert ESTIMATES["infonce"](logits, apart(8)).item() == pytest.approx(math.log(8))
    assert ESTIMATES["dv"](logits, apart(8)).item() == pytest.approx(50)


def test_the_estimate_is_the_loss_the_other_way_round():
    from mmil_cli.core.losses import ESTIMATES

    logits, pairing = random_logits(), apart(7)
    for name in ("dv", "mine", "nwj"):
        torch.testing.assert_close(ESTIMATES[name](logits, pairing), -make(name)(logits, pairing).total)
    expected = math.log(7) - make("infonce")(logits, pairing).total
    torch.testing.assert_close(ESTIMATES["infonce"](logits, pairing), expected)


# What sets each apart.


def test_equal_scores_have_closed_forms():
    flat, pairing = torch.full((8, 8), 0.3, dtype=torch.float64), apart(8)
    expected = {
        "dv": 0.0,
        "mine": 0.0,
        "nwj": -0.3 + math.exp(0.3 - 1),
        "jsd": softplus(-0.3) + softplus(0.3),
        "infonce": math.log(8),
        "sigmoid": softplus(9.7) + 7 * softplus(-9.7),
        "hinge": 0.4,
    }
    for name, value in expected.items():
        assert make(name)(flat, pairing).total.item() == pytest.approx(value)
    assert make("hinge", negatives="all")(flat, pairing).total.item() == pytest.approx(2 * 7 * 0.2)


def test_dv_and_infonce_differ_in_their_gradients_and_not_by_a_constant():
    dv, infonce = make("dv"), make("infonce", image_to_text=1.0)
    differences = []
    for seed in range(3):
        logits = random_logits(seed=seed)
        total, grad = value_and_gradient(dv, logits, apart(7))
        other, other_grad = value_and_gradient(infonce, logits, apart(7))
        differences.append((total - other).item())
        assert (grad - other_grad).abs().max() > 0.01
        scale = (grad * other_grad).sum() / (other_grad**2).sum()
        assert (grad - scale * other_grad).abs().max() > 0.01  # nor is one a multiple of the other
    assert max(differences) - min(differences) > 0.1


def test_the_first_step_of_mine_is_dv_and_later_ones_use_the_average():
    mine, dv = make("mine", decay=0.9), make("dv")
    first, second = random_logits(seed=0), random_logits(seed=1) + 3
    total, grad = value_and_gradient(mine, first, grouped())
    expected, expected_grad = value_and_gradient(dv, first, grouped())
    assert total == expected
    torch.testing.assert_close(grad, expected_grad)
    total, grad = value_and_gradient(mine, second, grouped())
    expected, expected_grad = value_and_gradient(dv, second, grouped())
    assert total == expected
    negative = grouped().negative
    means = [logits[negative].exp().mean() for logits in (first, second)]
    ratio = means[1] / (0.9 * means[0] + 0.1 * means[1])
    assert ratio > 1.5
    torch.testing.assert_close(grad[negative], ratio * expected_grad[negative])
    torch.testing.assert_close(grad[~negative], expected_grad[~negative])


def test_the_average_of_mine_is_in_the_checkpoint_and_only_training_moves_it():
    mine, other = make("mine"), make("mine")
    mine(random_logits(), grouped())
    expected = random_logits()[grouped().negative].exp().mean().log()
    torch.testing.assert_close(mine.log_average, expected)
    other.load_state_dict(mine.state_dict())
    other.eval()
    other(random_logits(seed=3), grouped())
    assert other.log_average == mine.log_average
    other.train()
    other(random_logits(3, 3), masks(torch.ones(3, 3).tolist(), torch.zeros(3, 3).tolist()))
    assert other.log_average == mine.log_average  # a batch without negatives has no mean to add
    other(random_logits(seed=3), grouped())
    assert other.log_average != mine.log_average


def test_nwj_equals_its_equation_until_its_tangent_takes_over():
    nwj, pairing = make("nwj"), apart(2)
    for value in (29.0, 30.99):
        logits = torch.tensor([[0, value], [value, 0]], dtype=torch.float64)
        assert nwj(logits, pairing).total.item() == pytest.approx(math.exp(value - 1))
    logits = torch.tensor([[0, 33.0], [33.0, 0]], dtype=torch.float64)
    assert nwj(logits, pairing).total.item() == pytest.approx(3 * math.exp(30))


def test_infonce_takes_one_direction_alone():
    logits, pairing = random_logits(), grouped()
    for weight, part in ((1.0, "image_to_text"), (0.0, "text_to_image")):
        loss = make("infonce", image_to_text=weight)(logits, pairing)
        assert loss.total == loss.parts[part]


def test_negatives_that_tie_for_the_hardest_share_its_gradient():
    logits = torch.tensor([[0.0, 2.0, 2.0], [-9.0, 0.0, -9.0], [-9.0, -9.0, 0.0]], dtype=torch.float64)
    _, grad = value_and_gradient(make("hinge"), logits, apart(3))
    # row 0 gives half of its 1/3 to each of its two; as columns 1 and 2, each is the hardest alone
    assert grad[0].tolist() == pytest.approx([-1 / 3, 1 / 6 + 1 / 3, 1 / 6 + 1 / 3])


def test_the_hinge_warms_up_on_all_negatives_in_training_alone():
    objective, logits = make("hinge", warmup=2), random_logits()
    hardest, every = (
        value_and_gradient(make("hinge", negatives=n), logits, apart(7)) for n in ("hardest", "all")
    )
    assert objective.eval()(logits, apart(7)).total == hardest[0]
    objective.train()
    totals = [objective(logits, apart(7)).total.item() for _ in range(3)]
    assert totals == [every[0], every[0], hardest[0]]
    resumed = make("hinge", warmup=2)
    resumed.load_state_dict(objective.state_dict())
    assert resumed(logits, apart(7)).total == hardest[0]


def test_the_hinge_is_flat_where_every_positive_wins_by_the_margin():
    total, grad = value_and_gradient(make("hinge"), torch.eye(4, dtype=torch.float64), apart(4))
    assert total == 0
    assert (grad == 0).all()


def test_the_bias_of_the_sigmoid_shifts_all_logits():
    logits = random_logits()
    loss = make("sigmoid", bias=-2.0)(logits, grouped())
    shifted = make("sigmoid", bias=0.0)(logits - 2, grouped())
    torch.testing.assert_close(loss.total, shifted.total)
    assert loss.parts["bias"] == -2
