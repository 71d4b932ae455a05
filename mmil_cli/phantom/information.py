"""Generated sources whose mutual information is known in closed form: what estimators are held against.

All is jointly Gaussian, of `dim` independent and equal components, and all information is in nats.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmil_cli.errors import UsageError


def _equal_correlation(number: int, correlation: float) -> np.ndarray:
    return (1 - correlation) * np.eye(number) + correlation


def _total_correlation(correlations: np.ndarray, dim: int) -> float:
    """sum_m H(y_m) - H(Y) = -(d/2) log det of the correlations; rounding does not make it negative."""
    return max(0.0, -dim / 2 * float(np.linalg.slogdet(correlations)[1]))


def _check(fine: bool, sentence: str) -> None:
    if not fine:
        raise UsageError(sentence)


@dataclass(frozen=True, kw_only=True)
class CorrelatedGaussians:
    """Pairs x, y in R^d: I(x; y) = -(d/2) log(1 - rho^2).

    Every component of x and of y has mean 0 and variance 1, and x_i has correlation rho with y_i alone: the
    test bed of MINE (Belghazi et al. 2018, arXiv 1801.04062) and of Poole et al. 2019 (arXiv 1905.06922).

    Attributes:
        dim: d.
        correlation: rho, in (-1, 1).
    """

    dim: int
    correlation: float

    def __post_init__(self) -> None:
        _check(self.dim >= 1, f"dim is {self.dim}; a pair needs at least 1 component")
        _check(-1 < self.correlation < 1, f"correlation is {self.correlation}; give one above -1, below 1")

    @classmethod
    def of_information(cls, nats: float, *, dim: int) -> "CorrelatedGaussians":
        """The pairs of a wanted mutual information, rho = sqrt(1 - e^{-2 I / d}).

        Raises:
            UsageError: for negative information.
        """
        _check(nats >= 0, f"the information is {nats} nats; give at least 0")
        return cls(dim=dim, correlation=math.sqrt(-math.expm1(-2 * nats / dim)))

    @property
    def information(self) -> float:
        """I(x; y) in nats."""
        return -self.dim / 2 * math.log1p(-(self.correlation**2))

    def sample(self, generator: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Independent pairs: x and y, each [number, dim]."""
        x, noise = generator.standard_normal((2, number, self.dim))
        return x, self.correlation * x + math.sqrt(1 - self.correlation**2) * noise

    def log_ratio(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(x, y) / (p(x) p(y)) of every x [n, dim] with every y [m, dim], as [n, m].

        I + sum_i [rho x_i y_i - rho^2 (x_i^2 + y_i^2) / 2] / (1 - rho^2), with I the information. The best
        critic of every bound on it, but for a constant.
        """
        rho = self.correlation
        lengths = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None, :]  # [n, m]
        return self.information + (rho * x @ y.T - rho**2 * lengths / 2) / (1 - rho**2)


@dataclass(frozen=True, kw_only=True)
class GaussianStudies:
    """Images of N regions with reports of M sentences, whose local and global information are both known.

    y_m = rho sum_n w_mn x_n / s_m + sqrt(1 - rho^2) e_m, where s_m gives the sum unit variance. Any two
    regions have the correlation `together`, any two noises e_m the correlation `habit`; each x_n, y_m, e_m
    is of unit variance in each of `dim` components.

    When is the sum of local information a lower bound on the global one? arXiv 2103.04537 says: typically.
    The condition and its proof are ours [ours]. With X all regions, Y all sentences, and the total
    correlation TC(Y) = sum_m H(y_m) - H(Y) >= 0, what the sentences repeat of each other,

        I(X; Y) = H(Y) - H(Y|X) = sum_m H(y_m) - TC(Y) - sum_m H(y_m|X) + TC(Y|X)
                = sum_m I(X; y_m) + TC(Y|X) - TC(Y),

    and I(X; y_m) = max_n I(x_n; y_m) + r_m, where r_m >= 0 is what the other regions add to the best one
    (chain rule). So

        I(X; Y) - sum_m max_n I(x_n; y_m) = sum_m r_m + TC(Y|X) - TC(Y),

    for any distribution in which these are finite, and the sum is a lower bound if and only if
    TC(Y) <= sum_m r_m + TC(Y|X). Hence:
    - independent sentences, TC(Y) = 0: always a lower bound;
    - sentences that each tell of one region, with noises of their own (r_m = 0, TC(Y|X) = 0): never below
      the global information, equal to it if and only if the sentences are independent, else above it by
      TC(Y), because two say the same or their regions go together;
    - findings that spread over regions (r_m > 0) leave room for repetition, up to which it is one.

    Attributes:
        mixing: w [M][N], at least one sentence and region; each sentence tells of at least one region.
        correlation: rho of a sentence with what it tells of, in (-1, 1).
        together: correlation of any two regions, in [0, 1).
        habit: correlation of the noises of any two sentences, in [0, 1).
        dim: components of a region and of a sentence.
    """

    mixing: tuple[tuple[float, ...], ...]
    correlation: float = 0.8
    together: float = 0.0
    habit: float = 0.0
    dim: int = 2

    def __post_init__(self) -> None:
        _check(self.dim >= 1, f"dim is {self.dim}; a vector needs at least 1 component")
        _check(-1 < self.correlation < 1, f"correlation is {self.correlation}; give one above -1, below 1")
        for name, value in (("together", self.together), ("habit", self.habit)):
            _check(0 <= value < 1, f"{name} is {value}; give at least 0, below 1")
        _check(
            len({len(row) for row in self.mixing}) == 1 and all(map(any, self.mixing)),
            f"mixing is {self.mixing}; give each sentence a row of one weight a region, not all 0",
        )

    def sample(self, generator: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Independent studies: regions [number, N, dim] and sentences [number, M, dim]."""
        cholesky = self._cholesky  # [N + M, N + M]
        drawn = cholesky @ generator.standard_normal((number, len(cholesky), self.dim))
        return drawn[:, : self.num_regions], drawn[:, self.num_regions :]

    @property
    def num_regions(self) -> int:
        """N."""
        return len(self.mixing[0])

    @property
    def num_sentences(self) -> int:
        """M."""
        return len(self.mixing)

    def covariance(self) -> np.ndarray:
        """Of one component of (x_1 .. x_N, y_1 .. y_M), [N + M, N + M]; its diagonal is 1."""
        regions = _equal_correlation(self.num_regions, self.together)
        weights = np.asarray(self.mixing)
        scale = np.sqrt(np.einsum("mn,nk,mk->m", weights, regions, weights))
        told = self.correlation * weights / scale[:, None]  # [M, N]
        noise = (1 - self.correlation**2) * _equal_correlation(self.num_sentences, self.habit)
        cross = told @ regions
        return np.block([[regions, cross.T], [cross, cross @ told.T + noise]])

    def local_information(self) -> np.ndarray:
        """I(x_n; y_m), [M, N]."""
        return np.array(
            [[self._between([n], [m]) for n in range(self.num_regions)] for m in range(self.num_sentences)]
        )

    def sum_of_local(self) -> float:
        """sum_m max_n I(x_n; y_m), what arXiv 2103.04537 maximises [ours]."""
        return float(self.local_information().max(axis=1).sum())

    def global_information(self) -> float:
        """I(X; Y) of the whole image and the whole report."""
        return self._between(range(self.num_regions), range(self.num_sentences))

    def other_regions(self) -> float:
        """sum_m r_m = sum_m I(X; y_m) - max_n I(x_n; y_m): what one region leaves to the others."""
        whole = (self._between(range(self.num_regions), [m]) for m in range(self.num_sentences))
        return sum(whole) - self.sum_of_local()

    def repetition(self) -> float:
        """TC(Y): what the sentences repeat of each other."""
        sentences = self.covariance()[self.num_regions :, self.num_regions :]
        return _total_correlation(sentences, self.dim)

    def repetition_given_image(self) -> float:
        """TC(Y|X): what they repeat of each other beyond what the image explains."""
        return _total_correlation(_equal_correlation(self.num_sentences, self.habit), self.dim)

    @cached_property
    def _cholesky(self) -> np.ndarray:
        return np.linalg.cholesky(self.covariance())

    def _between(self, regions: Sequence[int], sentences: Sequence[int]) -> float:
        """I(some regions; some sentences) = (d/2) log( det C_x det C_y / det C_xy )."""
        covariance = self.covariance()
        told = [self.num_regions + m for m in sentences]
        first, second, both = (
            float(np.linalg.slogdet(covariance[np.ix_(places, places)])[1])
            for places in (list(regions), told, [*regions, *told])
        )
        return self.dim / 2 * (first + second - both)


EACH_ITS_REGION = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0))
EACH_TWO_REGIONS = ((1.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 1.0))
BOTH_THE_SAME_REGION = ((1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))
BOTH_THE_SAME_TWO_REGIONS = ((1.0, 1.0, 0.0, 0.0), (1.0, 1.0, 0.0, 0.0))

STUDIES = {
    "findings apart": GaussianStudies(mixing=EACH_ITS_REGION),
    "findings over two regions": GaussianStudies(mixing=EACH_TWO_REGIONS),
    "one finding told twice": GaussianStudies(mixing=BOTH_THE_SAME_REGION),
    "findings that go together": GaussianStudies(mixing=EACH_ITS_REGION, together=0.8),
    "a wide finding told twice": GaussianStudies(mixing=BOTH_THE_SAME_TWO_REGIONS),
    "a writer's habit in both": GaussianStudies(mixing=EACH_ITS_REGION, habit=0.8),
}
"""Reports of two sentences on images of four regions, such that each term of the identity has its turn."""
