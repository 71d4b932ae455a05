"""A k-nearest-neighbour probe: what the most similar labelled films have, nothing fitted but k."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mmil_cli.stages.linear_probe import log_loss

NEIGHBOURS = (1, 5, 10, 20, 50, 100)
DEFAULT_NEIGHBOURS = 10
TEMPERATURE = 0.07
QUERIES_IN_BLOCK = 256


@dataclass(frozen=True, eq=False)
class FittedNeighbours:
    """What k was chosen for, and the scores that it gives.

    Attributes:
        scores: log-odds of the finding [n], or log shares of the classes [n, K].
        num_neighbours: k.
        chosen_on: what it was chosen on, in words.
    """

    scores: np.ndarray
    num_neighbours: int
    chosen_on: str


def unit_rows(features: np.ndarray, *, mean: np.ndarray) -> np.ndarray:
    """Features less the mean of the training films, of length 1: their products are cosine similarities."""
    centred = (features - mean).astype(np.float32)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def fit_neighbours(
    train: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    validate: np.ndarray,
    validate_labels: np.ndarray,
    queries: np.ndarray,
) -> FittedNeighbours:
    """Scores of queries, k being the one of NEIGHBOURS with the lowest log loss on the validation films.

    The share of a class is `p_c = (sum_i w_i [y_i = c] + prior_c) / (sum_i w_i + 1)` over the k most similar
    training films, w_i = exp((s_i - s_1) / 0.07) (temperature of Wu et al. 2018, arXiv 1805.01978), s_1 the
    most similar one's; the prior, the share of the class in the training films, counts as one film [ours].

    Args:
        train: unit rows [n, C].
        labels: class of each, 0..K-1 [n].
        num_classes: K.
        validate: unit rows to choose k on; may be empty [m, C].
        validate_labels: class of each [m].
        queries: unit rows [q, C].
    """
    known = tuple(k for k in NEIGHBOURS if k <= len(train)) or (len(train),)
    if len(np.unique(validate_labels)) == num_classes:
        scores = neighbour_scores(train, labels, num_classes=num_classes, queries=validate, counts=known)
        losses = [log_loss(scores[k], validate_labels) for k in known]
        best, chosen_on = known[int(np.argmin(losses))], "validate split"
    else:
        best = min(DEFAULT_NEIGHBOURS, len(train))
        chosen_on = "nothing: the validation films do not have every class"
    found = neighbour_scores(train, labels, num_classes=num_classes, queries=queries, counts=(best,))
    return FittedNeighbours(found[best], best, chosen_on)


def neighbour_scores(
    train: np.ndarray, labels: np.ndarray, *, num_classes: int, queries: np.ndarray, counts: tuple[int, ...]
) -> dict[int, np.ndarray]:
    """Scores by number of neighbours: log-odds [q] of two classes, log shares [q, K] of more."""
    one_hot = np.eye(num_classes)[labels]
    prior = one_hot.mean(axis=0)
    parts: dict[int, list[np.ndarray]] = {k: [np.empty((0, num_classes))] for k in counts}
    for similarity, places in _nearest(train, queries, max(counts)):
        weights = np.exp((similarity - similarity[:, :1]) / TEMPERATURE)
        for k in counts:
            votes = np.einsum("qk,qkc->qc", weights[:, :k], one_hot[places[:, :k]])
            parts[k].append((votes + prior) / (weights[:, :k].sum(axis=1, keepdims=True) + 1))
    shares = {k: np.concatenate(found) for k, found in parts.items()}
    if num_classes > 2:
        return {k: np.log(share) for k, share in shares.items()}
    return {k: np.log(share[:, 1]) - np.log(share[:, 0]) for k, share in shares.items()}


def _nearest(train: np.ndarray, queries: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Similarities and places of the most similar training films of some queries at a time, best first."""
    for start in range(0, len(queries), QUERIES_IN_BLOCK):
        similarity = queries[start : start + QUERIES_IN_BLOCK] @ train.T
        places = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
        found = np.take_along_axis(similarity, places, axis=1)
        order = np.lexsort((places, -found), axis=1)  # equal ones in the order of the films
        yield np.take_along_axis(found, order, axis=1), np.take_along_axis(places, order, axis=1)
