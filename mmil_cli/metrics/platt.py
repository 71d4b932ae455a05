"""Platt scaling: a score becomes a probability by a few labelled cases, with how sure that is."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from mmil_cli.metrics.intervals import Interval, interval

REFITS = 200


@dataclass(frozen=True)
class Platt:
    """P(y = 1) = sigmoid(slope s + intercept).

    Attributes:
        slope: at least 0, so that ranks stay as they are; 1 / slope is a temperature.
        intercept: moves all probabilities up or down.
    """

    slope: float
    intercept: float

    def log_odds(self, scores: np.ndarray) -> np.ndarray:
        """Of calibrated probabilities."""
        return self.slope * scores + self.intercept


@dataclass(frozen=True)
class PlattFit:
    """A fit and how far it depends on the cases that it was made from.

    Attributes:
        best: from all cases.
        slope, intercept: with 95 % intervals over resampled cases, each class by itself.
        refits: of the resamples.
        num_positive, num_negative: cases.
    """

    best: Platt
    slope: Interval
    intercept: Interval
    refits: tuple[Platt, ...]
    num_positive: int
    num_negative: int

    def probability(self, score: float) -> Interval:
        """Of one score, with its 95 % interval over the refits."""
        draws = expit(np.array([refit.slope * score + refit.intercept for refit in self.refits]))
        return interval(float(expit(self.best.slope * score + self.best.intercept)), draws)


def fit_platt(labels: np.ndarray, scores: np.ndarray, *, seed: int) -> PlattFit:
    """Fits slope and intercept to some cases, and again to resamples of them.

    Minimises the log loss against Platt's targets (Platt 1999), (N+ + 1) / (N+ + 2) for positives and
    1 / (N- + 2) for negatives, which keep the slope finite where a few cases are told apart perfectly. Unlike
    his, ours holds the slope to at least 0, so that few cases cannot turn a ranking around [ours].

    Args:
        labels: 0 or 1, both there [n].
        scores: [n].
        seed: of the resamples.
    """
    generator = np.random.default_rng(seed)
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    best = _fit(labels, scores)
    refits = []
    for _ in range(REFITS):
        rows = np.concatenate(
            [generator.choice(positive, len(positive)), generator.choice(negative, len(negative))]
        )
        refits.append(_fit(labels[rows], scores[rows]))
    return PlattFit(
        best=best,
        slope=interval(best.slope, np.array([refit.slope for refit in refits])),
        intercept=interval(best.intercept, np.array([refit.intercept for refit in refits])),
        refits=tuple(refits),
        num_positive=len(positive),
        num_negative=len(negative),
    )


def _fit(labels: np.ndarray, scores: np.ndarray) -> Platt:
    num_positive, num_negative = (labels == 1).sum(), (labels == 0).sum()
    targets = np.where(labels == 1, (num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2))
    centre, unit = scores.mean(), scores.std() or 1.0
    standard = (scores - centre) / unit

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits = parameters[0] * standard + parameters[1]
        residual = expit(logits) - targets
        gradient = np.array([(residual * standard).mean(), residual.mean()])
        return float((np.logaddexp(0.0, logits) - targets * logits).mean()), gradient

    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)])
    slope = float(found.x[0] / unit)
    return Platt(slope, float(found.x[1] - slope * centre))
