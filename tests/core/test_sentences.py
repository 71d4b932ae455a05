"""The contract of every registered sentence aggregator, then what each does."""

import math

import pytest
import torch
from score_parts import scale_options, units, user_options

INDEX = torch.tensor([[0, 1, 4], [2, -1, 3], [-1, -1, -1], [1, 1, -1], [-1, 0, -1]])
REPORTS = ((0, 1, 4), (2, 3), (), (1, 1), (0,))
LEARNS = "learned(start=0.2,low=0.1)"
OTHER = {("lse", "gamma"): 0.5}
"""For each option of a sentence aggregator a value that is not its default; a missing one fails."""


def slow_mean(values, **_):
    return sum(values) / len(values)


def slow_max(values, **_):
    return max(values)


def slow_lse(values, gamma=5.0):
    return math.log(sum(math.exp(gamma * value) for value in values) / len(values)) / gamma


SLOW = {"mean": slow_mean, "max": slow_max, "lse": slow_lse, "one": slow_mean}
"""A registered sentence aggregator that is missing here fails; `one` draws its sentence before the scores."""


def pytest_generate_tests(metafunc):
    from mmil_cli.core.sentences import SENTENCE_AGGREGATORS

    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", list(SENTENCE_AGGREGATORS))
    if "option" in metafunc.fixturenames:
        kinds = SENTENCE_AGGREGATORS.items()
        options = [(name, option) for name, kind in kinds for option in user_options(kind)]
        metafunc.parametrize("option", options, ids=str)
    if "scale" in metafunc.fixturenames:
        metafunc.parametrize("scale", scale_options(SENTENCE_AGGREGATORS), ids=str)


def make(name, **options):
    from mmil_cli.core.sentences import SENTENCE_AGGREGATORS

    return SENTENCE_AGGREGATORS[name](**options)


def sentence_scores(dtype=torch.float64):
    return units(5, 4, seed=1, dtype=dtype).T.contiguous()  # four images, five sentences


def close(found, expected, **tolerance):
    torch.testing.assert_close(found, expected, **{"atol": 1e-12, "rtol": 1e-9, **tolerance})


def test_equals_its_equation_report_by_report(name):
    scores = sentence_scores()
    for options in ({}, *({key: value} for (owner, key), value in OTHER.items() if owner == name)):
        found = make(name, **options)(scores, INDEX)
        for image, row in enumerate(found.tolist()):
            for place, report in enumerate(REPORTS):
                values = [float(scores[image, sentence]) for sentence in report]
                expected = SLOW[name](values, **options) if values else 0.0
                assert row[place] == pytest.approx(expected, abs=1e-12)


def test_order_of_sentences_and_padding_do_not_matter(name):
    scores, part = sentence_scores(), make(name)
    reordered = torch.cat([torch.full((5, 2), -1), INDEX.flip(1)], dim=1)
    close(part(scores, reordered), part(scores, INDEX))


def test_an_empty_report_scores_zero_with_finite_gradients(name):
    scores = sentence_scores().requires_grad_()
    found = make(name)(scores, INDEX)
    assert (found[:, 2] == 0).all()
    found.square().sum().backward()
    assert scores.grad.isfinite().all()
    alone = make(name)(scores, INDEX[2:3])
    (gradient,) = torch.autograd.grad(alone.sum(), scores, allow_unused=True)
    assert gradient is None or (gradient == 0).all()


@pytest.mark.parametrize("slots", [0, 1, 3])
@pytest.mark.parametrize("num_sentences", [0, 5])
def test_reports_of_nothing_at_all_score_zero(name, slots, num_sentences):
    scores = torch.ones(4, num_sentences, dtype=torch.float64, requires_grad=True)
    found = make(name)(scores, torch.full((3, slots), -1))
    assert found.shape == (4, 3)
    assert (found == 0).all()
    assert make(name)(scores, torch.full((0, slots), -1)).shape == (4, 0)
    assert make(name)(scores[:0], torch.full((3, slots), -1)).shape == (0, 3)


def test_lies_between_the_lowest_and_the_highest_sentence(name):
    scores = sentence_scores()
    found = make(name)(scores, INDEX[:1])[:, 0]
    assert (found >= scores[:, [0, 1, 4]].amin(dim=1) - 1e-12).all()
    assert (found <= scores[:, [0, 1, 4]].amax(dim=1) + 1e-12).all()
    close(make(name)(scores, torch.tensor([[3], [2]])), scores[:, [3, 2]])


def test_gradients_are_those_of_finite_differences(name):
    assert torch.autograd.gradcheck(
        lambda scores: make(name)(scores, INDEX), sentence_scores().requires_grad_()
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near_double(name, dtype):
    scores = sentence_scores(dtype).requires_grad_()
    found = make(name)(scores, INDEX)
    assert found.dtype == dtype
    torch.testing.assert_close(
        found.double(), make(name)(scores.detach().double(), INDEX), atol=0.02, rtol=0.02
    )
    found.double().sum().backward()
    assert scores.grad.isfinite().all()


def test_every_option_changes_the_scores(option):
    name, key = option
    usual, other = make(name), make(name, **{key: OTHER[option]})
    assert (usual(sentence_scores(), INDEX) - other(sentence_scores(), INDEX)).abs().max() > 1e-3


def test_every_scale_can_be_learned(scale):
    name, key = scale
    part = make(name, **{key: LEARNS})
    part(sentence_scores(), INDEX).sum().backward()
    (parameter,) = part.parameters()
    assert parameter.grad.isfinite()
    assert parameter.grad != 0


def test_a_scale_that_nothing_calibrates_is_no_scale_to_calibrate(scale):
    from mmil_cli.errors import UsageError

    name, key = scale
    with pytest.raises(UsageError, match=f"{key} must be a number or learned"):
        make(name, **{key: "auto"})


def test_a_sentence_said_twice_counts_twice_in_the_mean():
    scores = sentence_scores()
    found = make("mean")(scores, torch.tensor([[0, 0, 1]]))
    close(found[:, 0], (2 * scores[:, 0] + scores[:, 1]) / 3)


def test_lse_has_the_mean_and_the_maximum_as_limits():
    scores = sentence_scores()
    close(make("lse", gamma=1e5)(scores, INDEX), make("max")(scores, INDEX), atol=1e-4)
    close(make("lse", gamma=0.01)(scores, INDEX), make("mean")(scores, INDEX), atol=5e-3)


def test_only_one_sentence_looks_at_less_than_all_of_a_report(name):
    part = make(name)
    chosen = part.choose(INDEX)
    assert chosen.shape == ((5, 1) if name == "one" else (5, 3))
    assert (part.eval().choose(INDEX) == INDEX).all()


def test_the_sentence_of_a_step_is_any_of_the_report_and_none_of_its_padding():
    part, rounds = make("one"), 3000
    torch.manual_seed(0)
    drawn = torch.cat([part.choose(INDEX) for _ in range(rounds)], dim=1)
    for report, sentences in zip(drawn, REPORTS, strict=True):
        assert set(report.tolist()) == (set(sentences) or {-1})
        for sentence in set(sentences):
            share = sentences.count(sentence) / len(sentences)
            spread = math.sqrt(share * (1 - share) / rounds)
            assert (report == sentence).double().mean() == pytest.approx(share, abs=5 * spread + 1e-12)


def test_reports_draw_their_sentences_independently():
    torch.manual_seed(0)
    drawn = torch.cat([make("one").choose(torch.tensor([[0, 1], [2, 3]])) for _ in range(2000)], dim=1)
    both = ((drawn[0] == 0) & (drawn[1] == 2)).double().mean()
    assert both == pytest.approx(0.25, abs=0.05)


def test_one_sentence_of_reports_without_places_is_none():
    assert make("one").choose(torch.zeros(3, 0, dtype=torch.long)).shape == (3, 0)


def test_held_sentences_are_those_of_the_reports_renumbered():
    from mmil_cli.core.sentences import held_sentences

    held, index = held_sentences(torch.tensor([[7, 2, -1], [-1, 9, 7]]))
    assert held.tolist() == [2, 7, 9]
    assert index.tolist() == [[1, 0, -1], [-1, 2, 1]]
    held, index = held_sentences(torch.full((2, 3), -1))
    assert held.tolist() == []
    assert (index == -1).all()


def test_scoring_only_the_held_sentences_changes_nothing(name):
    from mmil_cli.core.sentences import held_sentences

    scores, part = sentence_scores(), make(name)
    chosen = part.choose(INDEX[1:3])
    held, index = held_sentences(chosen)
    close(part(scores[:, held], index), part(scores, chosen))


def test_every_sentence_aggregator_says_what_it_is():
    from mmil_cli.core.sentences import SENTENCE_AGGREGATORS

    for kind in SENTENCE_AGGREGATORS.values():
        assert kind.equation
        assert kind.source
