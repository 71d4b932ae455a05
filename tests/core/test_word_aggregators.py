"""What aggregators of words do at their limits; contract and equations are tested with all the others."""

import pytest
import torch
from score_parts import changed, make_aggregator, make_bags, make_instances, units
from torch.nn import functional as F

SHARP = 1e6


def close(found, expected, *, atol=1e-9):
    torch.testing.assert_close(found, expected, atol=atol, rtol=1e-8)


def word_scores(instances):
    """h(x_n, w), by hand."""
    return torch.einsum("bnd,utd->bnut", instances.regions, instances.sentences.words.features)


def of_the_average_region(instances):
    """h(z, w) of the average region z."""
    average = F.normalize(instances.regions.mean(dim=1), dim=-1)
    return torch.einsum("bd,utd->but", average, instances.sentences.words.features)


def test_words_that_attend_to_nothing_in_particular_see_the_average_region():
    instances = make_instances()
    expected = of_the_average_region(instances)
    close(make_aggregator("word-attention", gamma=0.0)(instances), (5 * expected).logsumexp(dim=2))
    close(make_aggregator("stacked-attention", gamma=0.0, pool="mean")(instances), expected.mean(dim=2))
    close(make_aggregator("stacked-attention", gamma=0.0, pool="max")(instances), expected.amax(dim=2))


def test_sharp_stacked_attention_sees_the_region_with_the_greatest_share():
    """Not the greatest score: what counts is a word's share of all that a region says."""
    regions = torch.tensor([[[0.9, 0.8, 0.0], [0.5, 0.1, 0.0], [-0.1, 0.3, 0.0]]]).double()
    words = torch.eye(3, dtype=torch.float64)[None, :2]  # so that components are scores
    sharp = make_aggregator("stacked-attention", gamma=SHARP, pool="mean")
    found = sharp(make_instances(regions=regions, sentences=words[0, :1], words=words))
    of_word_0, of_word_1 = regions[0, 1, 0] / regions[0, 1].norm(), regions[0, 2, 1] / regions[0, 2].norm()
    close(found[0, 0], (of_word_0 + of_word_1) / 2)


def test_a_sharp_pool_over_words_is_their_maximum():
    instances = make_instances()
    soft = make_aggregator("stacked-attention", gamma_words=1e5)(instances)
    close(soft, make_aggregator("stacked-attention", pool="max")(instances), atol=1e-4)


def test_the_log_sum_exps_over_words_do_not_divide_by_their_number():
    """Saying the only word of a sentence twice adds log 2, as in the papers."""
    one = make_instances(words=units(5, 1, 6, seed=3))
    twice = changed(
        one,
        words=one.sentences.words.features.expand(-1, 2, -1),
        word_mask=torch.ones(5, 2, dtype=torch.bool),
    )
    log_2 = torch.tensor(2.0).double().log()
    glued = make_aggregator("word-attention", gamma=0.0)
    close(glued(twice), glued(one) + log_2)
    stacked = make_aggregator("stacked-attention", gamma=0.0)
    close(stacked(twice), stacked(one) + log_2 / 6)


def test_filips_two_scores_meet_where_one_side_has_one_instance():
    one_region = make_instances(num_regions=1)
    close(make_aggregator("word-max")(one_region), word_scores(one_region)[:, 0].mean(dim=2))
    close(make_aggregator("region-max")(one_region), word_scores(one_region)[:, 0].amax(dim=2))
    one_word = make_instances(words=units(5, 1, 6, seed=3))
    close(make_aggregator("word-max")(one_word), word_scores(one_word)[..., 0].amax(dim=1))
    close(make_aggregator("region-max")(one_word), word_scores(one_word)[..., 0].mean(dim=1))


def test_a_region_that_fits_no_word_attends_to_none_of_them():
    """Every score of region 0 is below zero: its shares are 0, not 0/0."""
    word = units(1, 1, 6, seed=3)
    regions = torch.stack([-word[0, 0], word[0, 0]]).unsqueeze(0).requires_grad_()
    instances = make_instances(regions=regions, sentences=units(1, 6), words=word)
    aggregator = make_aggregator("stacked-attention", gamma=2.0, pool="mean")
    powers = torch.tensor([0.0, 2.0]).double().exp()
    close(aggregator.attention(instances)[0, :, 0, 0], powers / powers.sum())
    aggregator(instances).sum().backward()
    assert regions.grad.isfinite().all()


def test_region_maps_of_words_are_their_mean_scores():
    word_mask = torch.arange(4) < torch.tensor([[4], [2], [1], [3], [0]])
    instances = changed(make_instances(), word_mask=word_mask)
    for name in ("word-attention", "stacked-attention", "word-max", "region-max"):
        maps = make_aggregator(name).region_scores(instances)
        close(maps[:, :, 1], word_scores(instances)[:, :, 1, :2].mean(dim=2))
        assert (maps[:, :, 4] == 0).all()


def test_only_scores_that_read_words_ask_for_them():
    from mmil_cli.core.aggregators import AGGREGATORS
    from mmil_cli.core.build_score import build_score

    for name, kind in AGGREGATORS.items():
        assert build_score(name, dim=6).reads_words == kind.reads_words
    assert build_score("lse+word-max", dim=6).reads_words


def test_a_score_without_the_words_it_reads_says_so():
    from dataclasses import replace

    from mmil_cli.core.build_score import build_score

    regions, reports = make_bags()
    wordless = replace(reports, sentences=replace(reports.sentences, words=None))
    build_score("lse", dim=6)(regions, wordless)
    with pytest.raises(AssertionError, match="not given the words"):
        build_score("word-max", dim=6)(regions, wordless)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pool": "sum"}, "pool must be lse, mean, max, not 'sum'"),
        ({"pool": "max", "gamma_words": 3.0}, "gamma_words does nothing with pool=max; leave it out"),
        ({"gamma_words": "auto"}, "nothing to calibrate it by"),
        ({"gamma": -1.0}, "gamma must be a number from 0 to"),
        ({"gamma_words": 0.0}, "gamma_words must be a number from 0.01 to"),
    ],
)
def test_options_of_stacked_attention_that_make_no_sense_are_refused(options, says):
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=says):
        make_aggregator("stacked-attention", **options)
