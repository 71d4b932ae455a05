"""Properties of scores of bags, of scores whose properties are plain."""

import math

import pytest
import torch
from score_parts import units

DIM, NUM_REGIONS = 6, 9


@pytest.fixture
def regions():
    return units(40, NUM_REGIONS, DIM, seed=4)


@pytest.fixture
def phrase():
    return units(DIM, seed=5)


def cosines(phrase, pool):
    return lambda regions: pool(regions @ phrase)


def largest(scores):
    return scores.amax(dim=1)


def mean(scores):
    return scores.mean(dim=1)


def total(scores):
    return scores.sum(dim=1)


def test_effective_regions_run_from_one_to_all(regions, phrase):
    from mmil_cli.core.properties import effective_regions

    assert effective_regions(cosines(phrase, largest), regions) == pytest.approx(1.0)
    assert effective_regions(cosines(phrase, mean), regions) == pytest.approx(NUM_REGIONS)
    assert effective_regions(lambda x: x[:, :3].sum(dim=(1, 2)), regions) == pytest.approx(3.0)
    assert effective_regions(lambda x: (x * 0.0).sum(dim=(1, 2)), regions).isnan()


def test_monotonicity_is_the_upward_share_of_the_slope(regions, phrase):
    from mmil_cli.core.properties import monotonicity

    def contrast(scores):
        return 3 * scores[:, 0] - scores[:, 1]

    assert monotonicity(cosines(phrase, largest), regions, phrase=phrase) == 1.0
    assert monotonicity(cosines(-phrase, mean), regions, phrase=phrase) == 0.0
    assert monotonicity(cosines(phrase, contrast), regions, phrase=phrase) == pytest.approx(0.75)


def test_copies_matter_to_sums_only(regions, phrase):
    from mmil_cli.core.properties import copies_matter

    assert copies_matter(cosines(phrase, largest), regions) == 0.0
    assert copies_matter(cosines(phrase, mean), regions) == pytest.approx(0.0, abs=1e-12)
    sums = (regions @ phrase).sum(dim=1)
    expected = sums.abs().mean() / sums.std()
    assert copies_matter(cosines(phrase, total), regions) == pytest.approx(float(expected))
    assert copies_matter(lambda x: torch.ones(len(x)).double(), regions).isnan()


def test_only_scores_that_compare_regions_use_their_likeness(regions, phrase):
    from mmil_cli.core.properties import uses_correlation

    def found(score):
        generator = torch.Generator().manual_seed(0)
        return uses_correlation(score, regions, phrase=phrase, generator=generator)

    def likeness(x):
        return torch.matmul(x, x.transpose(1, 2)).square().mean(dim=(1, 2))

    assert found(cosines(phrase, largest)) == pytest.approx(0.0, abs=1e-12)
    assert found(cosines(phrase, mean)) == pytest.approx(0.0, abs=1e-12)
    assert found(likeness) > 0.3
    # The reflections keep lengths and cosines with the phrase, so a score of these alone stays too.
    assert found(lambda x: x.norm(dim=2).sum(dim=1) + (x @ phrase).std(dim=1)) == pytest.approx(0, abs=1e-9)


def test_extent_is_the_rise_after_the_first_positive_region(regions, phrase):
    from mmil_cli.core.properties import counts_extent

    # Regions of -y: whatever replaces them is a rise, whichever it is.
    absent = (-phrase).expand(40, NUM_REGIONS, DIM)
    shown = phrase.expand(40, 4, DIM)
    order = torch.arange(NUM_REGIONS).expand(40, -1)
    score = {"max": cosines(phrase, largest), "mean": cosines(phrase, mean)}
    assert counts_extent(score["max"], absent, shown=shown, order=order) == pytest.approx(0.0)
    assert counts_extent(score["mean"], absent, shown=shown, order=order) == pytest.approx(0.75)
    assert math.isnan(counts_extent(cosines(-phrase, mean), absent, shown=shown, order=order))


def test_properties_of_registered_aggregators(regions, phrase):
    """NL compares regions, local aggregators do not; noisy-or counts copies, the log-sum-exp does not."""
    from score_parts import make_aggregator, make_critic

    from mmil_cli.core.aggregators.instances import Instances
    from mmil_cli.core.bags import Sentences
    from mmil_cli.core.properties import copies_matter, effective_regions, uses_correlation

    def score(name):
        aggregator = make_aggregator(name)

        def of(x):
            mask = torch.ones(x.shape[:2], dtype=torch.bool)
            sentences = Sentences(features=phrase[None])
            return aggregator(Instances(regions=x, mask=mask, sentences=sentences, critic=make_critic()))[
                :, 0
            ]

        return of

    def likeness(name):
        generator = torch.Generator().manual_seed(0)
        return float(uses_correlation(score(name), regions, phrase=phrase, generator=generator))

    assert likeness("nl") > 0.05
    assert likeness("lse") == pytest.approx(0.0, abs=1e-9)
    assert copies_matter(score("noisy-or"), regions) > 0.5
    assert copies_matter(score("lse"), regions) == pytest.approx(0.0, abs=1e-9)
    assert 1 < effective_regions(score("lse"), regions) < NUM_REGIONS
