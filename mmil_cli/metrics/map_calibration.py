"""Similarity maps as probabilities of lying in a box, so that thresholds mean the same for any model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PIXELS_OF_A_MAP = 500
"""Looked at, about; maps are smooth."""


@dataclass(frozen=True)
class MapCalibration:
    """p = sigmoid(slope s + intercept) of a similarity s; slope at least 0, so that ranks stay."""

    slope: float
    intercept: float

    def probability(self, values: np.ndarray) -> np.ndarray:
        """Of every pixel of a map; NaN stays NaN."""
        from scipy.special import expit

        return np.asarray(expit(self.slope * values + self.intercept))


def sample_pixels(values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced seen pixels of a map: their similarity, and whether they lie inside the boxes."""
    step = max(1, int(np.sqrt(values.size / PIXELS_OF_A_MAP)))
    part, inside = values[step // 2 :: step, step // 2 :: step], mask[step // 2 :: step, step // 2 :: step]
    seen = ~np.isnan(part)
    return part[seen], inside[seen]


def fit_calibration(samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> MapCalibration | None:
    """Logistic regression of inside on similarity over pixels of many maps, each weighing the same [ours].

    Args:
        samples: as `sample_pixels` gives them, of phrases that are not evaluated.

    Returns:
        None where there is no pixel inside, or none outside.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, xlogy

    kept = [(values, inside) for values, inside in samples if values.size]
    if not kept:
        return None
    similarity = np.concatenate([values for values, _ in kept]).astype(np.float64)
    inside = np.concatenate([flags for _, flags in kept]).astype(np.float64)
    weight = np.concatenate([np.full(len(values), 1 / len(values)) for values, _ in kept]) / len(kept)
    if not 0 < weight @ inside < 1:
        return None
    centre, spread = weight @ similarity, float(similarity.std()) or 1.0
    unit = (similarity - centre) / spread

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        probability = np.clip(expit(parameters[0] * unit + parameters[1]), 1e-12, 1 - 1e-12)
        wrong = weight * (probability - inside)
        value = -(weight * (xlogy(inside, probability) + xlogy(1 - inside, 1 - probability))).sum()
        return float(value), np.array([wrong @ unit, wrong.sum()])

    slope, intercept = minimize(loss, (1.0, 0.0), jac=True, bounds=[(0, None), (None, None)]).x
    return MapCalibration(slope=float(slope / spread), intercept=float(intercept - slope / spread * centre))
