"""Bags of several films: all their regions, whatever the order of the films and however much is padded."""

import pytest
import torch
from score_parts import make_bags

COUNTS = (2, 1, 3)
EXPRESSIONS = ("lse+nl", "max", "mean", "nl", "noisy-or", "attention", "word-max")


def films(*, num_regions=4, dtype=torch.float64):
    """Six films of three bags, with some regions that show no film, and the bag of each."""
    mask = torch.rand(6, num_regions, generator=torch.Generator().manual_seed(4)) < 0.8
    mask[:, 0] = True
    regions, reports = make_bags(num_images=6, num_regions=num_regions, mask=mask, dtype=dtype)
    return regions, reports, torch.arange(3).repeat_interleave(torch.tensor(COUNTS))


def score_of(expression):
    from mmil_cli.core.build_score import build_score

    torch.manual_seed(0)
    return build_score(
        dim=make_bags()[0].features.shape[-1],
        expression=expression,
        critic="cosine",
        sentences="mean",
        objective="infonce",
        temperature=0.07,
        learn_temperature=True,
    ).double()


def test_a_bag_holds_the_regions_of_its_films_and_nothing_else():
    from mmil_cli.core.bags import join_films

    regions, _, bag = films()
    joined = join_films(regions, bag, num_bags=3)
    assert joined.features.shape == (
        3,
        3 * 4,
        regions.features.shape[-1],
    )  # no more than the largest bag needs
    assert joined.grid == regions.grid
    for number in range(3):
        real = joined.mask[number]
        expected = regions.features[bag == number][regions.mask[bag == number]]
        assert torch.equal(joined.features[number][real], expected)
    assert join_films(regions, torch.arange(6), num_bags=6) is regions


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_score_of_a_bag_is_that_of_all_its_regions_in_any_order_and_padding(expression):
    from dataclasses import replace

    from mmil_cli.core.bags import join_films

    regions, reports, bag = films()
    score = score_of(expression).eval()
    found = score.logits(join_films(regions, bag, num_bags=3), reports)
    turned = torch.tensor([1, 0, 2, 5, 3, 4])  # within each bag
    again = score.logits(join_films(regions[turned], bag[turned], num_bags=3), reports)
    torch.testing.assert_close(again, found, atol=1e-9, rtol=1e-7)
    for number in range(3):
        chosen = bag == number
        alone = replace(
            regions,
            features=regions.features[chosen].flatten(0, 1)[None],
            mask=regions.mask[chosen].flatten()[None],
        )
        torch.testing.assert_close(score.logits(alone, reports)[0], found[number], atol=1e-9, rtol=1e-7)


def test_gradients_reach_every_film_of_a_bag_and_no_padding():
    from dataclasses import replace

    from mmil_cli.core.bags import join_films

    regions, reports, bag = films()
    features = regions.features.clone().requires_grad_()
    joined = join_films(replace(regions, features=features), bag, num_bags=3)
    score_of("mean").logits(joined, reports).square().sum().backward()
    assert (features.grad.norm(dim=-1) > 0).equal(regions.mask)
