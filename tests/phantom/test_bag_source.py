"""Generated bags: their densities against SciPy, their best score against enumeration, samples and limits."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import vonmises, vonmises_fisher

CONCENTRATIONS = (0.0, 1e-4, 0.5, 0.999, 1.001, 3.0, 25.0, 600.0, 5000.0)


CIRCLE = np.linspace(-math.pi, math.pi, 2000, endpoint=False)
"""Where integrals over appearances are summed: on a circle that is as good as exact."""


def log_uniform(dim):
    """log density of the uniform distribution on the sphere."""
    return math.lgamma(dim / 2) - math.log(2) - dim / 2 * math.log(math.pi)


@pytest.mark.parametrize("dim", [2, 3, 16])
def test_the_normaliser_is_that_of_scipy(dim):
    from mmil_cli.phantom.von_mises_fisher import log_normaliser

    pole = np.eye(dim)[0]
    for kappa in (0.5, 3.0, 25.0, 600.0):
        at_the_pole = vonmises_fisher(pole, kappa).logpdf(pole) - log_uniform(dim)
        assert float(log_normaliser(kappa, dim=dim)) + kappa == pytest.approx(at_the_pole, abs=1e-8)


@pytest.mark.parametrize("dim", [2, 3, 16])
def test_the_normaliser_falls_smoothly_from_zero_with_the_mean_cosine_as_slope(dim):
    from mmil_cli.phantom.von_mises_fisher import log_normaliser, mean_cosine

    assert float(log_normaliser(0.0, dim=dim)) == 0.0
    for kappa in CONCENTRATIONS[1:]:
        step = 1e-4 * kappa
        ends = log_normaliser(np.array([kappa - step, kappa + step]), dim=dim)
        slope = -(ends[1] - ends[0]) / (2 * step)
        assert slope == pytest.approx(mean_cosine(kappa, dim=dim), rel=1e-3, abs=1e-6)


def test_concentrations_are_found_again():
    from mmil_cli.phantom.von_mises_fisher import concentration_of, mean_cosine

    for cosine in (0.0, 0.01, 0.3, 0.9, 0.999):
        assert mean_cosine(concentration_of(cosine, dim=8), dim=8) == pytest.approx(cosine, abs=1e-9)


def test_draws_are_unit_vectors_about_their_means():
    from mmil_cli.phantom.von_mises_fisher import draw_about, mean_cosine, uniform_directions

    generator = np.random.default_rng(0)
    means = uniform_directions(generator, (4000, 3), dim=6)
    for kappa in (0.0, 5.0):
        drawn = draw_about(generator, means, concentration=kappa)
        np.testing.assert_allclose(np.linalg.norm(drawn, axis=-1), 1.0)
        cosines = (drawn * means).sum(axis=-1)
        assert cosines.mean() == pytest.approx(mean_cosine(kappa, dim=6), abs=0.02)
    np.testing.assert_array_equal(draw_about(generator, means, concentration=math.inf), means)


@pytest.mark.parametrize("size", [0, 1, 3, 5])
def test_subsets_are_those_of_enumeration(size):
    from mmil_cli.phantom.subsets import log_mean_over_subsets, membership

    values = np.random.default_rng(size).normal(size=(4, 5)) * 3
    products = {
        chosen: np.exp(values[:, list(chosen)].sum(axis=1))
        for chosen in itertools.combinations(range(5), size)
    }
    mean = np.mean(list(products.values()), axis=0)
    np.testing.assert_allclose(log_mean_over_subsets(values, size=size), np.log(mean), atol=1e-10)
    held = [
        sum((product for chosen, product in products.items() if place in chosen), np.zeros(4))
        for place in range(5)
    ]
    expected = np.array(held).T / sum(products.values())[:, None]
    np.testing.assert_allclose(membership(values, size=size), expected, atol=1e-10)


def test_subsets_of_huge_values_stay_finite():
    from mmil_cli.phantom.subsets import log_mean_over_subsets, membership

    values = np.array([[1e4, -1e4, 0.0, 9e3]])
    assert np.isfinite(log_mean_over_subsets(values, size=2)).all()
    np.testing.assert_allclose(membership(values, size=2), [[1, 0, 0, 1]], atol=1e-12)


def slow_log_density(source, regions, squares):
    """log density of one bag whose positive squares are given, on the circle: appearances integrated."""
    shown = {n for square in squares for n in square}
    angles = np.arctan2(regions[:, 1], regions[:, 0])
    away = math.acos(0.7)
    mild = source._distractor_concentration
    total = 0.0
    for n, angle in enumerate(angles):
        if n not in shown:
            share = source.distractors
            about = vonmises(mild, loc=away).pdf(angle) if share else 0.0
            total += math.log((1 - share) / (2 * math.pi) + share * about)
    for square in squares:
        about = [angles[n] for n in square]
        if source.together == 0:
            total += sum(vonmises(source.concentration).logpdf(angle) for angle in about)
            continue

        each = [vonmises(source.concentration, loc=CIRCLE).pdf(angle) for angle in about]
        product = vonmises(source.appearance_concentration).pdf(CIRCLE) * np.prod(each, axis=0)
        total += math.log(product.mean() * 2 * math.pi)
    return total


@pytest.mark.parametrize(
    "options",
    [
        {"side": 1, "number": 1},
        {"side": 1, "number": 3},
        {"side": 2, "number": 1},
        {"side": 2, "number": 2, "together": 0.3},
        {"side": 1, "number": 2, "distractors": 0.2},
        {"side": 2, "number": 1, "together": 0.5, "distractors": 0.3},
    ],
)
def test_the_best_score_is_the_ratio_of_densities_summed_over_all_placements(options):
    """And the posterior of regions is Bayes' rule over the same placements."""
    from mmil_cli.phantom.bags import BagSource

    source = BagSource(grid=4 if options["side"] == 2 else 2, dim=2, signal=0.6, **options)
    bags = source.sample(np.random.default_rng(3), 4)
    squares = [
        tuple(np.flatnonzero(source._over_regions(np.eye(source.num_squares, dtype=bool)[[c]])[0]))
        for c in range(source.num_squares)
    ]
    for regions, found, posterior in zip(
        bags.regions,
        source.log_ratio(bags.regions),
        source.region_posterior(bags.regions),
        strict=True,
    ):
        absent = slow_log_density(source, regions, [])
        placements = list(itertools.combinations(squares, source.number))
        ratios = np.exp([slow_log_density(source, regions, chosen) - absent for chosen in placements])
        assert found == pytest.approx(math.log(ratios.mean()), abs=1e-6)
        shown = [
            [any(n in square for square in chosen) for n in range(len(regions))] for chosen in placements
        ]
        np.testing.assert_allclose(posterior, ratios / ratios.sum() @ np.array(shown), atol=1e-6)


def test_the_invariant_score_is_the_best_one_averaged_over_permutations():
    from mmil_cli.phantom.bags import BagSource

    source = BagSource(grid=2, dim=3, side=1, number=2, signal=0.5)
    wide = BagSource(grid=2, dim=3, side=2, signal=0.5)
    bags = source.sample(np.random.default_rng(0), 5)
    np.testing.assert_allclose(source.invariant_log_ratio(bags.regions), source.log_ratio(bags.regions))
    shuffled = bags.regions[:, [2, 0, 3, 1]]
    np.testing.assert_allclose(
        wide.invariant_log_ratio(bags.regions), wide.invariant_log_ratio(shuffled), atol=1e-12
    )
    np.testing.assert_allclose(source.invariant_posterior(bags.regions).sum(axis=1), 2.0)


def test_the_mean_ratio_of_bags_without_the_finding_is_one():
    """E[p(X | positive) / p(X | negative) | negative] = 1, with everything dialled up."""
    from mmil_cli.phantom.bags import BagSource

    source = BagSource(grid=4, dim=4, number=2, signal=0.3, together=0.1, distractors=0.3)
    ratios = np.exp(source.log_ratio(source.absent(np.random.default_rng(0), 40_000)))
    assert ratios.mean() == pytest.approx(1.0, abs=4 * ratios.std() / 200)


def test_samples_are_what_the_settings_say():
    from mmil_cli.phantom.bags import BagSource

    source = BagSource(side=2, number=3, signal=0.4, together=0.3, label_noise=0.2)
    bags = source.sample(np.random.default_rng(0), 3000)
    assert bags.labels.mean() == pytest.approx(0.5, abs=0.03)
    assert (bags.told != bags.labels).mean() == pytest.approx(0.2, abs=0.03)
    assert set(bags.shown.sum(axis=1)) == {0, 12}
    np.testing.assert_array_equal(bags.shown.any(axis=1), bags.labels)
    cosines = bags.regions @ source.phrase
    assert cosines[bags.shown].mean() == pytest.approx(0.4, abs=0.01)
    assert cosines[~bags.shown].mean() == pytest.approx(0.0, abs=0.01)
    squares = source._squares(source.positives(np.random.default_rng(1), 300))  # [n, M, 4, D]
    alike = np.einsum("nmad,nmbd->nmab", squares, squares)[..., 0, 1]
    assert alike.mean() == pytest.approx(0.4**2 + 0.3 * (1 - 0.4**2), abs=0.02)
    np.testing.assert_allclose(np.linalg.norm(bags.regions, axis=-1), 1.0)


def test_distractors_lie_in_bags_of_both_kinds():
    from mmil_cli.phantom.bags import DISTRACTOR_COSINE, BagSource

    source = BagSource(signal=0.4, distractors=0.25)
    bags = source.sample(np.random.default_rng(0), 3000)
    cosines = bags.regions @ source.phrase
    expected = 0.25 * DISTRACTOR_COSINE * 0.4
    assert cosines[~bags.shown].mean() == pytest.approx(expected, abs=0.005)
    assert cosines[bags.labels][~bags.shown[bags.labels]].mean() == pytest.approx(expected, abs=0.005)


def test_no_score_ranks_better_than_the_best():
    from mmil_cli.metrics.classification import auroc
    from mmil_cli.phantom.bags import BagSource

    source = BagSource(signal=0.49)
    bags = source.sample(np.random.default_rng(0), 2000)
    cosines = bags.regions @ source.phrase
    labels = bags.labels.astype(float)
    best, invariant = (
        auroc(labels, source.log_ratio(bags.regions)),
        auroc(labels, source.invariant_log_ratio(bags.regions)),
    )
    others = [cosines.max(axis=1), cosines.mean(axis=1), np.exp(10 * cosines).mean(axis=1)]
    assert best > invariant > max(auroc(labels, scores) for scores in others)


def test_the_log_sum_exp_is_the_best_score_of_one_region_and_the_mean_that_of_all():
    """The two ends of B's dial, exactly; at other gammas the log-sum-exp is not the best."""
    import torch

    from mmil_cli.core.aggregators import AGGREGATORS
    from mmil_cli.core.aggregators.instances import Instances
    from mmil_cli.core.bags import Sentences
    from mmil_cli.core.critics.cosine import Cosine
    from mmil_cli.phantom.bags import BagSource

    one = BagSource(grid=6, side=1, signal=0.6)
    everywhere = BagSource(grid=6, side=6, signal=0.1)

    def scores(source, name, **options):
        regions = torch.from_numpy(source.sample(np.random.default_rng(0), 50).regions)
        instances = Instances(
            regions=regions,
            mask=torch.ones(regions.shape[:2], dtype=torch.bool),
            sentences=Sentences(features=torch.from_numpy(source.phrase)[None]),
            critic=Cosine(source.dim),
        )
        found = AGGREGATORS[name](**options).double()(instances)[:, 0].numpy()
        return found, source.log_ratio(regions.numpy())

    found, best = scores(one, "lse", gamma=one.concentration)
    np.testing.assert_allclose(one.concentration * (found - found[0]), best - best[0], atol=1e-5)
    other, _ = scores(one, "lse", gamma=one.concentration / 3)
    assert (np.argsort(other) != np.argsort(best)).any()
    found, best = scores(everywhere, "mean")
    slope = everywhere.num_regions * everywhere.concentration
    np.testing.assert_allclose(slope * (found - found[0]), best - best[0], atol=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": 3}, "side is 3; squares must fill a grid of 8"),
        ({"side": 4, "number": 5}, "number is 5; there are 4 squares"),
        ({"number": 0}, "number is 0"),
        ({"signal": 1.0}, "signal is 1.0; give one above 0, below 1"),
        ({"together": 1.0}, "together is 1.0; give at least 0, below 1"),
        ({"distractors": -0.1}, "distractors is -0.1"),
        ({"label_noise": 0.5}, "label_noise is 0.5; give at least 0, below 0.5"),
        ({"dim": 1}, "dim at least 2"),
    ],
)
def test_bags_that_cannot_be_are_refused(options, message):
    from mmil_cli.errors import UsageError
    from mmil_cli.phantom.bags import BagSource

    with pytest.raises(UsageError, match=message):
        BagSource(**options)


def test_regions_with_something_in_common_have_no_ratio_of_their_own():
    from mmil_cli.errors import UsageError
    from mmil_cli.phantom.bags import BagSource

    source = BagSource(together=0.2)
    with pytest.raises(UsageError, match=r"together is 0\.2; regions by themselves decide only at 0"):
        source.invariant_log_ratio(source.absent(np.random.default_rng(0), 2))
