"""Sums over all subsets of a size: elementary symmetric polynomials, in the log domain."""

import numpy as np
from scipy.special import gammaln


def log_mean_over_subsets(log_values: np.ndarray, *, size: int) -> np.ndarray:
    """log( e_k(exp l_1, ..., exp l_M) / binom(M, k) ): the mean over subsets of k of their products.

    e_k = sum over subsets S of size k of prod_(c in S) exp l_c, by the recursion
    e_j(first c) = e_j(first c - 1) + exp(l_c) e_(j-1)(first c - 1).

    Args:
        log_values: l [n, M].
        size: k, from 0 to M.

    Returns:
        [n].
    """
    return _prefixes(log_values, size)[-1, :, size] - _log_number(log_values.shape[1], size)


def membership(log_values: np.ndarray, *, size: int) -> np.ndarray:
    """The share of the subsets of k that hold c, each weighed by its product: P(c in S) [n, M].

    exp(l_c) e_(k-1)(all but c) / e_k(all); all but c are those before it and those after it. Rows sum to k.
    """
    if size == 0:
        return np.zeros_like(log_values)
    before = _prefixes(log_values, size)
    after = _prefixes(log_values[:, ::-1], size)[::-1]
    parts = [before[:-1, :, taken] + after[1:, :, size - 1 - taken] for taken in range(size)]
    others = np.logaddexp.reduce(parts, axis=0)  # [M, n]
    return np.exp(log_values + others.T - before[-1, :, size][:, None])


def _prefixes(log_values: np.ndarray, size: int) -> np.ndarray:
    """log e_j of the first c values [M + 1, n, k + 1]; -inf where there are fewer than j."""
    number, count = log_values.shape
    found = np.full((count + 1, number, size + 1), -np.inf)
    found[:, :, 0] = 0.0
    for place in range(count):
        taken = found[place, :, :-1] + log_values[:, place, None]
        found[place + 1, :, 1:] = np.logaddexp(found[place, :, 1:], taken)
    return found


def _log_number(count: int, size: int) -> float:
    """log binom(M, k)."""
    return float(gammaln(count + 1) - gammaln(size + 1) - gammaln(count - size + 1))
