"""Scores between bags: expressions, invariances, chunks, and one score for training and evaluation."""

import pytest
import torch
from torch.nn import functional as F


def make_bags(
    num_images=4,
    num_regions=9,
    reports=((0, 1), (2,), (1, 3, 4)),
    num_sentences=5,
    dim=6,
    dtype=torch.float32,
):
    from mmil_cli.core.bags import RegionBag, SentenceBag

    generator = torch.Generator().manual_seed(0)
    regions = F.normalize(torch.randn(num_images, num_regions, dim, generator=generator, dtype=dtype), dim=-1)
    sentences = F.normalize(torch.randn(num_sentences, dim, generator=generator, dtype=dtype), dim=-1)
    longest = max(len(report) for report in reports)
    index = torch.tensor([[*report, *[-1] * (longest - len(report))] for report in reports])
    mask = torch.ones(num_images, num_regions, dtype=torch.bool)
    return RegionBag(features=regions, mask=mask, grid=(3, 3)), SentenceBag(features=sentences, index=index)


def test_lse_plus_nl_equals_its_equations_pair_by_pair():
    from mmil_cli.core.scores import build_score

    regions, reports = make_bags()
    terms = build_score("lse(gamma=7)+nl(gamma=3)")(regions, reports)
    for i in range(4):
        for j, row in enumerate(reports.index):
            local_scores, global_scores = [], []
            x = regions.features[i].double()
            for m in row[row >= 0]:
                y = reports.features[m].double()
                h = x @ y
                local_scores.append(torch.logsumexp(7 * h, 0) / 7 - torch.log(torch.tensor(9.0)) / 7)
                weights = torch.softmax(3 * (x @ x[h.argmax()]), 0)
                global_scores.append(F.normalize(weights @ x, dim=0) @ y)
            torch.testing.assert_close(
                terms["lse"].scores[i, j].double(), torch.stack(local_scores).mean(), atol=1e-5, rtol=0
            )
            torch.testing.assert_close(
                terms["nl"].scores[i, j].double(), torch.stack(global_scores).mean(), atol=1e-5, rtol=0
            )


def test_logits_are_the_sum_of_the_terms_scaled():
    from mmil_cli.core.scores import build_score

    regions, reports = make_bags()
    score = build_score("max+mean", temperature=0.1)
    terms = score(regions, reports)
    expected = 10 * terms["max"].scores + 10 * terms["mean"].scores
    torch.testing.assert_close(score.logits(regions, reports), expected)


def test_order_of_sentences_and_padding_do_not_matter():
    from mmil_cli.core.scores import build_score

    score = build_score("lse+nl")
    regions, reports = make_bags(reports=((0, 1, 4), (2, 3)))
    _, shuffled = make_bags(
        reports=(
            (
                4,
                0,
                1,
            ),
            (3, 2, -1, -1),
        )
    )
    torch.testing.assert_close(score.logits(regions, shuffled), score.logits(regions, reports))


def test_an_empty_report_scores_zero():
    from mmil_cli.core.scores import build_score

    regions, reports = make_bags(reports=((0, 1), ()))
    assert (build_score("lse+nl").logits(regions, reports)[:, 1] == 0).all()


def test_a_sentence_said_twice_counts_twice():
    from mmil_cli.core.scores import build_score

    score = build_score("max")
    regions, twice = make_bags(reports=((0, 0, 1),))
    _, zero = make_bags(reports=((0,),))
    _, one = make_bags(reports=((1,),))
    expected = (2 * score.logits(regions, zero) + score.logits(regions, one)) / 3
    torch.testing.assert_close(score.logits(regions, twice), expected)


@pytest.mark.parametrize("chunk_elements", [1, 36, 2 * 36 + 1, 10**6])
def test_chunks_change_neither_scores_nor_gradients(chunk_elements):
    from mmil_cli.core.bags import RegionBag, SentenceBag
    from mmil_cli.core.scores import build_score

    results = []
    for limit in (10**9, chunk_elements):
        regions, reports = make_bags(dtype=torch.float64)
        x = regions.features.clone().requires_grad_()
        y = reports.features.clone().requires_grad_()
        score = build_score("lse+nl+max")
        score.chunk_elements = limit
        logits = score.logits(
            RegionBag(features=x, mask=regions.mask, grid=(3, 3)),
            SentenceBag(features=y, index=reports.index),
        )
        logits.square().sum().backward()
        results.append((logits.detach(), x.grad, y.grad))
    for whole, chunked in zip(*results, strict=True):
        torch.testing.assert_close(chunked, whole)


def test_every_parameter_of_a_score_gets_a_gradient():
    from mmil_cli.core.scores import build_score

    regions, reports = make_bags()
    score = build_score("lse+nl+max+mean")
    score.logits(regions, reports).sum().backward()
    for name, parameter in score.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_fixed_temperature_stays():
    from mmil_cli.core.scores import build_score

    score = build_score("lse", temperature=0.2, learn_temperature=False)
    assert not any(parameter.requires_grad for parameter in score.parameters())
    assert score.terms["lse"].logit_scale.item() == pytest.approx(5)


def test_the_logit_scale_never_passes_its_clamp():
    from mmil_cli.core.scores import MAX_LOGIT_SCALE, build_score

    score = build_score("lse")
    with torch.no_grad():
        score.terms["lse"].log_scale.fill_(50.0)
    assert score.terms["lse"].logit_scale.item() == MAX_LOGIT_SCALE


@pytest.mark.parametrize(
    ("one", "other"), [("lse(gamma=2)", "lse(gamma=20)"), ("nl(gamma=0)", "nl(gamma=9)")]
)
def test_every_argument_changes_the_score(one, other):
    from mmil_cli.core.scores import build_score

    regions, reports = make_bags()
    difference = build_score(one).logits(regions, reports) - build_score(other).logits(regions, reports)
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("expression", "position", "says"),
    [
        ("lsee", 0, "did you mean 'lse'"),
        ("lse + nll", 6, "did you mean 'nl'"),
        ("lse+lse", 4, "twice"),
        ("lse(gama=3)", 0, "takes: gamma"),
        ("lse(gamma=-1)", 0, "above 0"),
        ("lse(gamma=soft)", 0, "must be a number"),
        ("lse(gamma=1,gamma=2)", 12, "twice"),
        ("lse(gamma)", 9, "expected '='"),
        ("lse(", 4, "expected an argument"),
        ("lse nl", 4, "expected '\\+' or the end"),
        ("lse+", 4, "expected the name"),
        ("", 0, "expected the name"),
        ("lse+*", 4, "unexpected"),
    ],
)
def test_a_wrong_expression_is_pointed_at(expression, position, says):
    from mmil_cli.core.scores import build_score
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=says) as caught:
        build_score(expression)
    assert str(caught.value).endswith(f"\n  {expression}\n  {' ' * position}^")


def test_an_expression_is_parsed_term_by_term():
    from mmil_cli.core.grammar import parse

    first, second = parse(" lse( gamma = 1e1 ) + nl ")
    assert (first.name, first.arguments) == ("lse", {"gamma": 10.0})
    assert (second.name, second.arguments) == ("nl", {})
