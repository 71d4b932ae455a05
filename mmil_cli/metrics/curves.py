"""Points to draw: ROC, precision and recall, and reliability."""

from dataclasses import dataclass

import numpy as np

from mmil_cli.metrics.decisions import NUM_BINS, bin_of

MOST_POINTS = 101


@dataclass(frozen=True)
class Curves:
    """The curves of one finding; empty lists where it does not have both classes.

    Attributes:
        roc: (1 - specificity, sensitivity), from (0, 0) to (1, 1).
        precision_recall: (recall, precision), recall rising.
        reliability: (mean probability, share that is positive, number of films) of each bin that has films.
    """

    roc: list[tuple[float, float]]
    precision_recall: list[tuple[float, float]]
    reliability: list[tuple[float, float, int]]


def curves(labels: np.ndarray, scores: np.ndarray, probabilities: np.ndarray) -> Curves:
    """The curves of a finding, each thinned to at most 101 points of those there are.

    Args:
        labels: 0, 1 or NaN (left out) [n].
        scores: [n].
        probabilities: the scores as probabilities [n].
    """
    known = ~np.isnan(labels)
    positive, scores, probabilities = labels[known] == 1, scores[known], probabilities[known]
    if not positive.any() or positive.all():
        return Curves([], [], [])
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # ties are one point
    hits = positive[order].cumsum()[last]
    called = np.flatnonzero(last) + 1
    recall, fall_out = hits / positive.sum(), (called - hits) / (~positive).sum()
    return Curves(
        roc=[(0.0, 0.0), *_points(fall_out, recall)],
        precision_recall=_points(recall, hits / called),
        reliability=_reliability(positive, probabilities),
    )


def _points(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """Pairs rounded to four places; of more than fit, those at even places, first and last among them."""
    chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS - 1)).round().astype(np.int64))
    return [(round(float(x[i]), 4), round(float(y[i]), 4)) for i in chosen]


def _reliability(positive: np.ndarray, probabilities: np.ndarray) -> list[tuple[float, float, int]]:
    places = bin_of(probabilities)
    rows = [places == number for number in range(NUM_BINS)]
    return [
        (round(float(probabilities[row].mean()), 4), round(float(positive[row].mean()), 4), int(row.sum()))
        for row in rows
        if row.any()
    ]
