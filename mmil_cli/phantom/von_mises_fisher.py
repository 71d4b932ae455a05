"""Unit vectors about a mean direction: the von Mises-Fisher distribution, whose algebra is that of cosines.

Its density on the unit sphere of R^D is C(kappa) exp(kappa <m, x>), against the surface measure, with
C(kappa) = kappa^v / ((2 pi)^(D/2) I_v(kappa)), v = D/2 - 1; kappa = 0 is uniform (Mardia and Jupp 2000).
"""

import numpy as np
from scipy import special
from scipy.optimize import brentq
from scipy.stats import vonmises_fisher

_SERIES_BELOW = 1.0  # of kappa: the Bessel function underflows near 0, its series does not
_MOST_CONCENTRATED = 1e8


def log_normaliser(concentration: float | np.ndarray, *, dim: int) -> np.ndarray:
    """log C(kappa) / C(0), at most 0: minus the log of the mean of e^(kappa t) over the sphere.

    1 / (C(kappa) / C(0)) = 0F1(D/2; kappa^2 / 4) = Gamma(D/2) (2 / kappa)^v I_v(kappa).

    Args:
        concentration: kappa, at least 0, of any shape.
        dim: D, at least 2.
    """
    kappa = np.asarray(concentration, dtype=np.float64)
    order = dim / 2 - 1
    small = np.minimum(kappa, _SERIES_BELOW)
    large = np.maximum(kappa, _SERIES_BELOW)
    of_small = -np.log(special.hyp0f1(dim / 2, small**2 / 4))
    log_bessel = np.log(special.ive(order, large)) + large
    of_large = order * np.log(large / 2) - special.gammaln(dim / 2) - log_bessel
    return np.where(kappa < _SERIES_BELOW, of_small, of_large)


def mean_cosine(concentration: float, *, dim: int) -> float:
    """A(kappa) = E <m, x> = I_(D/2)(kappa) / I_(D/2-1)(kappa), from 0 to 1 as kappa grows."""
    if concentration < 1e-6:
        return concentration / dim  # its slope at 0
    return float(special.ive(dim / 2, concentration) / special.ive(dim / 2 - 1, concentration))


def concentration_of(cosine: float, *, dim: int) -> float:
    """The kappa whose mean cosine is the one given, in [0, 1)."""
    if cosine == 0:
        return 0.0
    return float(brentq(lambda kappa: mean_cosine(kappa, dim=dim) - cosine, 0.0, _MOST_CONCENTRATED))


def uniform_directions(generator: np.random.Generator, shape: tuple[int, ...], *, dim: int) -> np.ndarray:
    """Unit vectors [*shape, D] without a mean direction."""
    drawn = generator.standard_normal((*shape, dim))
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def draw_about(generator: np.random.Generator, means: np.ndarray, *, concentration: float) -> np.ndarray:
    """One vector about each mean direction [*shape, D]; with kappa infinite, the directions themselves.

    x = t m + sqrt(1 - t^2) v: t is drawn by SciPy (Wood 1994), v is uniform on the sphere orthogonal to m.
    """
    if np.isinf(concentration) or means.size == 0:
        return means.copy()
    if concentration == 0:
        return uniform_directions(generator, means.shape[:-1], dim=means.shape[-1])
    pole = np.eye(means.shape[-1])[0]
    number = int(np.prod(means.shape[:-1]))
    drawn = vonmises_fisher(pole, concentration).rvs(number, random_state=generator)
    cosines = drawn[:, 0].reshape(*means.shape[:-1], 1)
    other = generator.standard_normal(means.shape)
    other -= (other * means).sum(axis=-1, keepdims=True) * means
    other /= np.linalg.norm(other, axis=-1, keepdims=True)
    return cosines * means + np.sqrt(np.maximum(0.0, 1 - cosines**2)) * other
