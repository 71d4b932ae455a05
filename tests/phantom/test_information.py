"""Sources of known information, against densities of scipy, other formulas, and samples."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

NATS = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0)


def pair_covariance(source):
    """Of (x_1 .. x_d, y_1 .. y_d)."""
    return np.kron(np.array([[1, source.correlation], [source.correlation, 1]]), np.eye(source.dim))


def entropy(covariance, *, dim=1):
    return dim * multivariate_normal(cov=covariance).entropy()


def canonical_information(covariance, num_first, *, dim):
    """-(d/2) sum_k log(1 - r_k^2) over the canonical correlations r_k of the two parts."""
    first, second = covariance[:num_first, :num_first], covariance[num_first:, num_first:]
    cross = covariance[:num_first, num_first:]
    squared = np.linalg.eigvals(np.linalg.solve(first, cross) @ np.linalg.solve(second, cross.T)).real
    return -dim / 2 * np.log1p(-squared).sum()


def any_studies(generator):
    from mmil_cli.phantom.information import GaussianStudies

    num_sentences, num_regions = generator.integers(1, 5, size=2)
    return GaussianStudies(
        mixing=tuple(map(tuple, generator.normal(size=(num_sentences, num_regions)).tolist())),
        correlation=generator.uniform(0.1, 0.95),
        together=generator.uniform(0, 0.9),
        habit=generator.uniform(0, 0.9),
        dim=int(generator.integers(1, 4)),
    )


@pytest.fixture(params=range(8))
def studies(request):
    return any_studies(np.random.default_rng(request.param))


@pytest.mark.parametrize("dim", [1, 4])
@pytest.mark.parametrize("nats", NATS)
def test_pairs_have_the_information_that_was_wanted(nats, dim):
    from mmil_cli.phantom.information import CorrelatedGaussians

    source = CorrelatedGaussians.of_information(nats, dim=dim)
    assert source.information == pytest.approx(nats)
    joint = entropy(pair_covariance(source))
    assert 2 * entropy(np.eye(dim)) - joint == pytest.approx(nats, abs=1e-9)


def test_the_log_ratio_is_that_of_the_densities():
    from mmil_cli.phantom.information import CorrelatedGaussians

    source = CorrelatedGaussians(dim=3, correlation=-0.7)
    x, y = source.sample(np.random.default_rng(0), 5)
    joint, marginal = multivariate_normal(cov=pair_covariance(source)), multivariate_normal(cov=np.eye(3))

    def ratio(one, other):
        return joint.logpdf(np.concatenate([one, other])) - marginal.logpdf(one) - marginal.logpdf(other)

    slow = [[ratio(one, other) for other in y] for one in x]
    np.testing.assert_allclose(source.log_ratio(x, y), slow, atol=1e-12)


@pytest.mark.parametrize("nats", NATS)
def test_the_mean_log_ratio_of_samples_is_the_information(nats):
    from mmil_cli.phantom.information import CorrelatedGaussians

    source = CorrelatedGaussians.of_information(nats, dim=4)
    x, y = source.sample(np.random.default_rng(1), 2000)
    of_pairs = np.diagonal(source.log_ratio(x, y))
    assert of_pairs.mean() == pytest.approx(nats, abs=4 * of_pairs.std() / np.sqrt(len(x)) + 1e-12)


def test_samples_of_pairs_have_the_covariance():
    from mmil_cli.phantom.information import CorrelatedGaussians

    source = CorrelatedGaussians(dim=2, correlation=0.6)
    drawn = np.concatenate(source.sample(np.random.default_rng(2), 100_000), axis=1)
    np.testing.assert_allclose(np.cov(drawn.T), pair_covariance(source), atol=0.02)


@pytest.mark.parametrize(
    "given", [{"dim": 0, "correlation": 0.5}, {"dim": 2, "correlation": 1.0}, {"dim": 2, "correlation": -1.0}]
)
def test_pairs_that_cannot_be_are_refused(given):
    from mmil_cli.errors import UsageError
    from mmil_cli.phantom.information import CorrelatedGaussians

    with pytest.raises(UsageError):
        CorrelatedGaussians(**given)
    with pytest.raises(UsageError, match="at least 0"):
        CorrelatedGaussians.of_information(-0.1, dim=2)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"mixing": ()}, "one weight a region"),
        ({"mixing": ((),)}, "one weight a region"),
        ({"mixing": ((1.0,), (1.0, 0.0))}, "one weight a region"),
        ({"mixing": ((1.0, 0.0), (0.0, 0.0))}, "not all 0"),
        ({"mixing": ((1.0,),), "correlation": 1.0}, "correlation is 1.0"),
        ({"mixing": ((1.0,),), "together": 1.0}, "together is 1.0"),
        ({"mixing": ((1.0,),), "habit": -0.1}, "habit is -0.1"),
        ({"mixing": ((1.0,),), "dim": 0}, "dim is 0"),
    ],
)
def test_studies_that_cannot_be_are_refused(given, sentence):
    from mmil_cli.errors import UsageError
    from mmil_cli.phantom.information import GaussianStudies

    with pytest.raises(UsageError, match=sentence):
        GaussianStudies(**given)


def test_samples_of_studies_have_the_covariance(studies):
    number = 100_000
    regions, sentences = studies.sample(np.random.default_rng(3), number)
    assert regions.shape == (number, studies.num_regions, studies.dim)
    assert sentences.shape == (number, studies.num_sentences, studies.dim)
    both = np.concatenate([regions, sentences], axis=1)  # [B, N + M, d]
    for component in range(studies.dim):
        np.testing.assert_allclose(np.cov(both[:, :, component].T), studies.covariance(), atol=0.03)
    assert abs(np.corrcoef(both[:, 0, 0], both[:, 0, -1])[0, 1] - (studies.dim == 1)) < 0.02


def test_local_information_is_that_of_two_correlated_gaussians(studies):
    from mmil_cli.phantom.information import CorrelatedGaussians

    correlations = studies.covariance()[studies.num_regions :, : studies.num_regions]
    slow = [
        [CorrelatedGaussians(dim=studies.dim, correlation=rho).information for rho in row]
        for row in correlations
    ]
    np.testing.assert_allclose(studies.local_information(), slow, atol=1e-9)
    assert studies.sum_of_local() == pytest.approx(sum(map(max, slow)))


def test_global_information_is_that_of_the_canonical_correlations(studies):
    slow = canonical_information(studies.covariance(), studies.num_regions, dim=studies.dim)
    assert studies.global_information() == pytest.approx(slow)


def test_global_information_is_the_mean_log_ratio_of_samples():
    from mmil_cli.phantom.information import STUDIES

    source = STUDIES["a writer's habit in both"]
    regions, sentences = source.sample(np.random.default_rng(4), 20_000)
    both, size = np.concatenate([regions, sentences], axis=1), source.num_regions
    covariance = source.covariance()
    ratio = sum(
        multivariate_normal(cov=covariance).logpdf(both[:, :, k])
        - multivariate_normal(cov=covariance[:size, :size]).logpdf(both[:, :size, k])
        - multivariate_normal(cov=covariance[size:, size:]).logpdf(both[:, size:, k])
        for k in range(source.dim)
    )
    assert source.global_information() == pytest.approx(ratio.mean(), abs=4 * ratio.std() / np.sqrt(20_000))


def test_the_terms_of_the_identity_are_differences_of_entropies(studies):
    covariance, size, dim = studies.covariance(), studies.num_regions, studies.dim
    sentences = covariance[size:, size:]
    alone = [entropy(sentences[m : m + 1, m : m + 1], dim=dim) for m in range(studies.num_sentences)]
    assert studies.repetition() == pytest.approx(sum(alone) - entropy(sentences, dim=dim), abs=1e-9)

    image = entropy(covariance[:size, :size], dim=dim)
    with_one = [
        entropy(covariance[np.ix_([*range(size), size + m], [*range(size), size + m])], dim=dim) - image
        for m in range(studies.num_sentences)
    ]  # H(y_m | X)
    given_image = sum(with_one) - (entropy(covariance, dim=dim) - image)
    assert studies.repetition_given_image() == pytest.approx(given_image, abs=1e-9)
    of_image = sum(alone) - sum(with_one)  # sum_m I(X; y_m)
    assert studies.other_regions() == pytest.approx(of_image - studies.sum_of_local(), abs=1e-9)


def test_the_identity_holds(studies):
    gap = studies.global_information() - studies.sum_of_local()
    terms = studies.other_regions() + studies.repetition_given_image() - studies.repetition()
    assert gap == pytest.approx(terms, abs=1e-9)
    assert min(studies.other_regions(), studies.repetition_given_image(), studies.repetition()) >= -1e-12


@pytest.mark.parametrize("seed", range(5))
def test_the_sum_is_a_lower_bound_when_sentences_are_independent(seed):
    from mmil_cli.phantom.information import GaussianStudies

    weights = np.random.default_rng(seed).normal(size=(2, 3))
    apart = np.block([[weights[0], np.zeros(3)], [np.zeros(3), weights[1]]])
    source = GaussianStudies(mixing=tuple(map(tuple, apart.tolist())))
    assert source.repetition() == pytest.approx(0, abs=1e-12)
    assert source.sum_of_local() < source.global_information()


@pytest.mark.parametrize("together", [0.0, 0.3, 0.9])
def test_of_sentences_on_one_region_each_the_sum_exceeds_by_what_they_repeat(together):
    from mmil_cli.phantom.information import EACH_ITS_REGION, GaussianStudies

    source = GaussianStudies(mixing=EACH_ITS_REGION, together=together)
    excess = source.sum_of_local() - source.global_information()
    assert excess == pytest.approx(source.repetition(), abs=1e-12)
    assert (excess > 1e-6) == (together > 0)


def test_what_the_named_studies_show():
    from mmil_cli.phantom.information import STUDIES

    def sign(source):
        return round(float(np.sign(np.round(source.global_information() - source.sum_of_local(), 9))))

    assert {name: sign(source) for name, source in STUDIES.items()} == {
        "findings apart": 0,
        "findings over two regions": 1,
        "one finding told twice": -1,
        "findings that go together": -1,
        "a wide finding told twice": 1,
        "a writer's habit in both": 1,
    }
    by_name = STUDIES["findings over two regions"], STUDIES["a writer's habit in both"]
    assert by_name[0].other_regions() > 1
    assert by_name[1].repetition_given_image() > by_name[1].repetition() > 0
