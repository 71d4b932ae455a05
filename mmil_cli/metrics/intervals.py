"""Bootstrap intervals that resample patients, because films of one patient are not independent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# Elements of one temporary [samples, rows] array; 8 bytes each, a handful alive at a time.
_BLOCK_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A value with the percentile interval of its resamples; NaN where it is undefined.

    `num_undefined` counts the resamples in which the value does not exist (no positive drawn, say);
    they are left out of the percentiles.
    """

    value: float
    low: float
    high: float
    num_undefined: int = 0


def patient_weights(groups: Sequence[object] | np.ndarray, *, samples: int = 1000, seed: int) -> np.ndarray:
    """How often each row is drawn when whole patients are resampled with replacement.

    Args:
        groups: The patient of each row [n]; any values that compare equal within a patient.
        samples: Number of resamples S.
        seed: The same seed and groups give the same draws, so that comparisons can be paired.

    Returns:
        Multiplicities [S, n], int16; all rows of one patient share theirs.
    """
    patients, member = np.unique(np.asarray(groups), return_inverse=True)
    num_patients = len(patients)
    generator = np.random.default_rng(seed)
    weights = np.empty((samples, len(member)), dtype=np.int16)
    if num_patients == 0:
        return weights
    for block in row_blocks(samples, num_patients):
        size = block.stop - block.start
        drawn = generator.integers(0, num_patients, size=(size, num_patients))
        cell = drawn + num_patients * np.arange(size)[:, None]
        counts = np.bincount(cell.ravel(), minlength=size * num_patients).reshape(size, num_patients)
        weights[block] = counts.astype(np.int16)[:, member]
    return weights


def row_blocks(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Slices over the rows such that one [rows, columns] block stays a bounded size."""
    step = max(1, _BLOCK_ELEMENTS // max(1, num_columns))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def interval(value: float, draws: np.ndarray, *, level: float = 0.95) -> Interval:
    """The percentile interval of `value` from its resamples [S]; NaN draws are counted, not used."""
    defined = draws[~np.isnan(draws)]
    num_undefined = int(draws.size - defined.size)
    if defined.size == 0 or np.isnan(value):
        return Interval(float(value), float("nan"), float("nan"), num_undefined)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Interval(float(value), float(low), float(high), num_undefined)


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means of the columns of `values` [n, K] under each row of `weights` [S, n], as [S, K].

    NaN values are left out of their own column; a column with nothing left is NaN.
    """
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    means = np.empty((len(weights), values.shape[1]))
    for block in row_blocks(*weights.shape):
        part = weights[block].astype(np.float64)
        means[block] = _ratio(part @ filled, part @ defined.astype(np.float64))
    return means


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def mean_intervals(values: np.ndarray, weights: np.ndarray) -> list[Interval]:
    """One interval a column of `values` [n, K] for its mean, from the resamples `weights` [S, n]."""
    draws = weighted_mean(values, weights)
    means = mean_of_defined(values.T)
    return [interval(float(mean), column) for mean, column in zip(means, draws.T, strict=True)]


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Division with NaN where the denominator is zero."""
    result = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)
