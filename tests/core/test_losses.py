"""Which pairs count as what, and both directions of InfoNCE by closed form and by a slow loop."""

import math

import pytest
import torch


def pairing_of(study, text=None, **options):
    from mmil_cli.core.losses.pairing import pair_batch

    text = list(range(len(study))) if text is None else text
    return pair_batch(torch.tensor(study), torch.tensor(text), **options)


def slow_loss(logits, positive, negative):
    """Straight from the equation, one direction."""
    terms = []
    for b in range(logits.shape[0]):
        negatives = [logits[b, n].item() for n in range(logits.shape[1]) if negative[b, n]]
        positives = [logits[b, p].item() for p in range(logits.shape[1]) if positive[b, p]]
        each = [
            -math.log(math.exp(p) / (math.exp(p) + sum(math.exp(n) for n in negatives))) for p in positives
        ]
        terms.append(sum(each) / len(each))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("same_group", ["exclude", "positive"])
def test_equals_the_equation_with_same_study_and_same_text_pairs(same_group):
    from mmil_cli.core.losses.infonce import info_nce
    from mmil_cli.core.losses.pairing import SameGroup

    logits = 3 * torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairing = pairing_of([0, 0, 1, 2, 3, 4], [0, 0, 1, 2, 2, 3], same_group=SameGroup(same_group))
    loss = info_nce(logits, pairing)
    positive, negative = pairing.positive, pairing.negative
    assert loss.image_to_text.item() == pytest.approx(slow_loss(logits, positive, negative))
    assert loss.text_to_image.item() == pytest.approx(slow_loss(logits.T, positive.T, negative.T))
    assert loss.total.item() == pytest.approx((loss.image_to_text.item() + loss.text_to_image.item()) / 2)


@pytest.mark.parametrize("same_group", ["exclude", "positive"])
def test_rows_of_a_pairing_are_those_of_the_whole(same_group):
    from mmil_cli.core.losses.pairing import SameGroup, pair_batch, pair_rows

    study, text = torch.tensor([0, 0, 1, 2, 3, 4]), torch.tensor([0, 1, 1, 2, 0, 4])
    whole = pair_batch(study, text, same_group=SameGroup(same_group))
    for first, last in [(0, 2), (2, 6), (3, 3)]:
        part = pair_rows(study, text, rows=slice(first, last), same_group=SameGroup(same_group))
        assert part.positive.equal(whole.positive[first:last])
        assert part.negative.equal(whole.negative[first:last])


def test_without_groups_it_is_cross_entropy_on_the_diagonal():
    from mmil_cli.core.losses.infonce import info_nce

    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    loss = info_nce(logits, pairing_of(range(5)))
    target = torch.arange(5)
    torch.testing.assert_close(loss.image_to_text, torch.nn.functional.cross_entropy(logits, target))
    torch.testing.assert_close(loss.text_to_image, torch.nn.functional.cross_entropy(logits.T, target))


def test_equal_scores_cost_log_of_the_choices():
    from mmil_cli.core.losses.infonce import info_nce

    assert info_nce(torch.zeros(8, 8), pairing_of(range(8))).total.item() == pytest.approx(math.log(8))


def test_pairs_of_one_study_or_text_are_never_negatives():
    from mmil_cli.core.losses.infonce import info_nce
    from mmil_cli.core.losses.pairing import SameGroup

    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    pairing = pairing_of([0, 0, 1, 2], [0, 1, 2, 2])
    info_nce(logits, pairing).total.backward()
    left_out = [(0, 1), (1, 0), (2, 3), (3, 2)]
    assert all(logits.grad[pair] == 0 for pair in left_out)
    positives = pairing_of([0, 0, 1, 2], [0, 1, 2, 2], same_group=SameGroup.POSITIVE)
    logits.grad = None
    info_nce(logits, positives).total.backward()
    assert all(logits.grad[pair] < 0 for pair in left_out)  # drawn together


def test_a_batch_of_one_text_has_nothing_to_learn_and_no_nan():
    from mmil_cli.core.losses.infonce import info_nce

    logits = torch.randn(4, 4).requires_grad_()
    loss = info_nce(logits, pairing_of(range(4), [0, 0, 0, 0])).total
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_great_logits_stay_finite():
    from mmil_cli.core.losses.infonce import info_nce

    for sign in (1, -1):
        logits = (sign * 1e4 * torch.eye(3)).requires_grad_()
        loss = info_nce(logits, pairing_of(range(3))).total
        loss.backward()
        assert loss.isfinite()
        assert logits.grad.isfinite().all()


def test_gradients_are_those_of_finite_differences():
    from mmil_cli.core.losses.infonce import info_nce

    logits = torch.randn(4, 4, dtype=torch.float64).requires_grad_()
    pairing = pairing_of([0, 0, 1, 2])
    assert torch.autograd.gradcheck(lambda x: info_nce(x, pairing).total, (logits,))
