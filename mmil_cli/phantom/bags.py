"""Generated bags of region features whose best possible score is known in closed form."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmil_cli.errors import UsageError
from mmil_cli.phantom.subsets import log_mean_over_subsets, membership
from mmil_cli.phantom.von_mises_fisher import (
    concentration_of,
    draw_about,
    log_normaliser,
    uniform_directions,
)

DISTRACTOR_COSINE = 0.7
"""Of the direction that distractors lie about with the phrase."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bags:
    """Bags that were drawn.

    Attributes:
        regions: unit vectors [n, N, D], rows of the grid one after another.
        labels: whether the bag has the finding [n].
        told: the label that training is told, some of them wrong [n].
        shown: the regions that show the finding [n, N]; none in negative bags.
    """

    regions: np.ndarray
    labels: np.ndarray
    told: np.ndarray
    shown: np.ndarray


@dataclass(frozen=True, kw_only=True)
class BagSource:
    """Images as bags of unit region vectors, and one phrase, the unit vector y [ours].

    The grid is cut into M = (grid / side)^2 squares. A positive bag shows the finding in `number` of them,
    any as likely as any other; every region of such a square is positive. Positive regions of one square
    share an appearance m that is drawn about the phrase, and each is drawn about m:

        m ~ vMF(y, lambda),   x_n ~ vMF(m, kappa).

    kappa and lambda follow from two numbers that are easier to think of, by E<m, y> = A(lambda) and
    E<x_n, m> = A(kappa): `signal` a = E<x_n, y> = A(kappa) A(lambda), and the mean cosine of two positive
    regions of a square, r = E<x_n, x_k> = A(kappa)^2 = a^2 + together (1 - a^2). With `together` = 0, m is y
    and regions have nothing in common beyond the phrase; with more, they resemble each other more than the
    phrase, while the mean cosine with the phrase stays.

    Other regions are uniform on the sphere, but for a share `distractors` of them, in bags of both kinds:
    these are drawn about a fixed direction w whose cosine with y is 0.7, with A of them = a. Half of the bags
    are positive. Training is told the wrong label of a bag with probability `label_noise`.

    The best score of a bag is the log of the ratio of its densities (Neyman and Pearson 1933), here

        L(X) = log mean_(Z) prod_(c in Z) exp l_c = log e_k(exp l_1, ..., exp l_M) - log binom(M, k),

    over the sets Z of k = `number` squares, where l_c is the log ratio of square c with regions S_c, and e_k
    the elementary symmetric polynomial. With C the normaliser of vMF and c(kappa) = log C(kappa) / C(0), and
    because vMF is the conjugate prior of its own mean direction,

        l_c = |S_c| c(kappa) + c(lambda) - c(| lambda y + kappa sum_(n in S_c) x_n |)
              - sum_(n in S_c) log( 1 - d + d exp(kappa_d <w, x_n> + c(kappa_d)) ),  d = `distractors`,

    and its first line is sum_n (kappa <x_n, y> + c(kappa)) where m is y. So one region (side 1, number 1)
    without distractors has L = kappa LSE + const with the gamma of the log-sum-exp equal to kappa, and
    a finding over the whole grid has L = N kappa mean_n <x_n, y> + const.

    Attributes:
        grid: regions on a side of the image.
        dim: D.
        side: regions on a side of a square; divides `grid`.
        number: positive squares of a positive bag.
        signal: a, in (0, 1).
        together: in [0, 1).
        distractors: share of the other regions, in [0, 1).
        label_noise: in [0, 0.5).
    """

    grid: int = 8
    dim: int = 16
    side: int = 2
    number: int = 1
    signal: float = 0.45
    together: float = 0.0
    distractors: float = 0.0
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        _check(self.grid >= 1 and self.dim >= 2, "grid must be at least 1 and dim at least 2")
        _check(
            self.side >= 1 and self.grid % self.side == 0,
            f"side is {self.side}; squares must fill a grid of {self.grid} without rest",
        )
        _check(
            1 <= self.number <= self.num_squares,
            f"number is {self.number}; there are {self.num_squares} squares of side {self.side}",
        )
        _check(0 < self.signal < 1, f"signal is {self.signal}; give one above 0, below 1")
        for name, most in (("together", 1.0), ("distractors", 1.0), ("label_noise", 0.5)):
            value = getattr(self, name)
            _check(0 <= value < most, f"{name} is {value}; give at least 0, below {most:g}")

    @property
    def num_regions(self) -> int:
        """N."""
        return self.grid**2

    @property
    def num_squares(self) -> int:
        """M."""
        return (self.grid // self.side) ** 2

    @property
    def num_shown(self) -> int:
        """Positive regions of a positive bag."""
        return self.number * self.side**2

    @property
    def phrase(self) -> np.ndarray:
        """y [D]."""
        return np.eye(self.dim)[0]

    @cached_property
    def concentration(self) -> float:
        """kappa."""
        return concentration_of(math.sqrt(self._likeness), dim=self.dim)

    @cached_property
    def appearance_concentration(self) -> float:
        """lambda; infinite where m is y."""
        if self.together == 0:
            return math.inf
        return concentration_of(self.signal / math.sqrt(self._likeness), dim=self.dim)

    def sample(self, generator: np.random.Generator, number: int) -> Bags:
        """Independent bags."""
        labels = generator.random(number) < 0.5
        told = labels ^ (generator.random(number) < self.label_noise)
        rank = generator.random((number, self.num_squares)).argsort(axis=1).argsort(axis=1)
        shown = self._over_regions((rank < self.number) & labels[:, None])
        drawn = np.where(shown[..., None], self.positives(generator, number), self.absent(generator, number))
        return Bags(regions=drawn, labels=labels, told=told, shown=shown)

    def log_ratio(self, regions: np.ndarray) -> np.ndarray:
        """L(X) of each bag, in nats [n]: no score of bags ranks or predicts better."""
        return log_mean_over_subsets(self.square_log_ratios(regions), size=self.number)

    def region_posterior(self, regions: np.ndarray) -> np.ndarray:
        """P(region n is positive | X, the bag is positive) [n, N]: no map points better."""
        return self._over_regions(membership(self.square_log_ratios(regions), size=self.number))

    def invariant_log_ratio(self, regions: np.ndarray) -> np.ndarray:
        """The best score that does not know where regions lie [n]: that of sets of single regions.

        A score that no permutation of the regions changes sees the bag as if it had been permuted at random;
        then every set of `num_shown` regions is as likely, and L is that of squares of side 1. It must still
        be told how many regions a positive bag shows.

        Raises:
            UsageError: regions have something in common (`together`): there is no such closed form.
        """
        return log_mean_over_subsets(self.region_log_ratios(regions), size=self.num_shown)

    def invariant_posterior(self, regions: np.ndarray) -> np.ndarray:
        """The same of maps: P(region n is positive) for who does not know where regions lie [n, N]."""
        return membership(self.region_log_ratios(regions), size=self.num_shown)

    def region_log_ratios(self, regions: np.ndarray) -> np.ndarray:
        """log p(x_n | positive) / p(x_n | other) of each region by itself [n, N].

        Raises:
            UsageError: regions have something in common.
        """
        _check(self.together == 0, f"together is {self.together}; regions by themselves decide only at 0")
        cosines = regions @ self.phrase
        return self.concentration * cosines + self._log_normaliser - self._other_log_ratios(regions)

    def square_log_ratios(self, regions: np.ndarray) -> np.ndarray:
        """l_c of each square [n, M]."""
        if self.together == 0:
            return self._squares(self.region_log_ratios(regions)[..., None]).sum(axis=(2, 3))
        about = self.appearance_concentration
        total = self._squares(regions).sum(axis=2)  # [n, M, D]
        length = np.linalg.norm(about * self.phrase + self.concentration * total, axis=-1)
        shared = log_normaliser(about, dim=self.dim) - log_normaliser(length, dim=self.dim)
        other = self._squares(self._other_log_ratios(regions)[..., None]).sum(axis=(2, 3))
        return self.side**2 * self._log_normaliser + shared - other

    @property
    def _likeness(self) -> float:
        """r."""
        return self.signal**2 + self.together * (1 - self.signal**2)

    @cached_property
    def _log_normaliser(self) -> float:
        """c(kappa)."""
        return float(log_normaliser(self.concentration, dim=self.dim))

    @property
    def _distractor(self) -> np.ndarray:
        """w [D]."""
        across = math.sqrt(1 - DISTRACTOR_COSINE**2)
        return DISTRACTOR_COSINE * self.phrase + across * np.eye(self.dim)[1]

    @cached_property
    def _distractor_concentration(self) -> float:
        return concentration_of(self.signal, dim=self.dim)

    def _other_log_ratios(self, regions: np.ndarray) -> np.ndarray:
        """log of the density of regions that are not positive, over the uniform one [n, N]."""
        if self.distractors == 0:
            return np.zeros(regions.shape[:2])
        kappa = self._distractor_concentration
        peak = kappa * regions @ self._distractor + log_normaliser(kappa, dim=self.dim)
        return np.logaddexp(math.log1p(-self.distractors), math.log(self.distractors) + peak)

    def positives(self, generator: np.random.Generator, number: int) -> np.ndarray:
        """Positive regions everywhere [n, N, D]; those of a square share their appearance."""
        phrases = np.broadcast_to(self.phrase, (number, self.num_squares, self.dim))
        appearances = draw_about(generator, phrases, concentration=self.appearance_concentration)
        means = self._over_regions(appearances)
        return draw_about(generator, means, concentration=self.concentration)

    def absent(self, generator: np.random.Generator, number: int) -> np.ndarray:
        """Regions of bags without the finding [n, N, D]."""
        shape = (number, self.num_regions)
        uniform = uniform_directions(generator, shape, dim=self.dim)
        if self.distractors == 0:
            return uniform
        means = np.broadcast_to(self._distractor, (*shape, self.dim))
        about = draw_about(generator, means, concentration=self._distractor_concentration)
        return np.where(generator.random(shape)[..., None] < self.distractors, about, uniform)

    def _squares(self, values: np.ndarray) -> np.ndarray:
        """What regions have [n, N, d], by square [n, M, side^2, d]."""
        count, side = self.grid // self.side, self.side
        cut = values.reshape(len(values), count, side, count, side, -1)
        return cut.transpose(0, 1, 3, 2, 4, 5).reshape(len(values), count**2, side**2, -1)

    def _over_regions(self, values: np.ndarray) -> np.ndarray:
        """What squares have [n, M, ...], for each of their regions [n, N, ...]."""
        count = self.grid // self.side
        square = values.reshape(len(values), count, count, *values.shape[2:])
        return (
            square.repeat(self.side, axis=1)
            .repeat(self.side, axis=2)
            .reshape(len(values), self.num_regions, *values.shape[2:])
        )


def _check(fine: bool, sentence: str) -> None:
    if not fine:
        raise UsageError(sentence)
