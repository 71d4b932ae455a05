"""Several classes: AUROCs of groups of them, and accuracy; intervals by patient."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import logsumexp

from mmil_cli.metrics.classification import auroc
from mmil_cli.metrics.intervals import Interval, interval, mean_of_defined, patient_weights, weighted_mean


@dataclass(frozen=True)
class ClassRow:
    """How well one group of classes is told from another.

    Attributes:
        name: `0 v 123`, or `1 v 3` of a pair, or a class against the rest.
        num_low, num_high: films of the two groups.
        auroc: of telling them apart.
    """

    name: str
    num_low: int
    num_high: int
    auroc: Interval


@dataclass(frozen=True)
class ClassTable:
    """The figures of a task of several classes.

    Attributes:
        rows: of grades: each cut, then each pair; of other classes: each against the rest.
        mean: over the cuts, or over the classes, that are defined.
        accuracy: share of films whose likeliest class is theirs; chance is the share of the largest class.
        chance_accuracy: that share.
        num_films: with a class.
    """

    rows: tuple[ClassRow, ...]
    mean: Interval
    accuracy: Interval
    chance_accuracy: float
    num_films: int


@dataclass(frozen=True)
class _Contrast:
    name: str
    is_pair: bool
    labels: np.ndarray  # 0, 1 or NaN
    scores: np.ndarray


def class_table(
    index: np.ndarray,
    logits: np.ndarray,
    *,
    classes: Sequence[str],
    is_ordinal: bool,
    groups: Sequence[object] | np.ndarray,
    samples: int = 1000,
    seed: int = 0,
) -> ClassTable:
    """AUROCs from summed soft-max probabilities.

    Of grades 0..K-1: `0 v 123`, `01 v 23`, ... by P(grade >= k), and each pair a v b by P(b) / (P(a) + P(b))
    among the films of these two (the comparisons of Liao et al., arXiv 2103.04537). Of other classes: each
    against the rest by its probability.

    Args:
        index: class of each film, below 0 for none (left out) [n].
        logits: of the classes [n, K].
        classes: their names.
        is_ordinal: whether they are grades, in rising order.
        groups: the patient of each film [n].
        samples: number of resamples.
        seed: of the resampling.
    """
    weights = patient_weights(groups, samples=samples, seed=seed)
    contrasts = list(_cuts(index, logits, classes) if is_ordinal else _against_rest(index, logits, classes))
    values = [auroc(part.labels, part.scores) for part in contrasts]
    draws = [auroc(part.labels, part.scores, weights) for part in contrasts]
    rows = tuple(
        ClassRow(
            part.name, int((part.labels == 0).sum()), int((part.labels == 1).sum()), interval(value, drawn)
        )
        for part, value, drawn in zip(contrasts, values, draws, strict=True)
    )
    averaged = [place for place, part in enumerate(contrasts) if not part.is_pair]
    known = index >= 0
    hits = np.where(known, logits.argmax(axis=1) == index, np.nan)[:, None]
    return ClassTable(
        rows=rows,
        mean=interval(
            float(mean_of_defined(np.array([values[place] for place in averaged]))),
            mean_of_defined(np.stack([draws[place] for place in averaged], axis=1)),
        ),
        accuracy=interval(float(mean_of_defined(hits[:, 0])), weighted_mean(hits, weights)[:, 0]),
        chance_accuracy=float(np.bincount(index[known]).max() / known.sum()) if known.any() else float("nan"),
        num_films=int(known.sum()),
    )


def _cuts(index: np.ndarray, logits: np.ndarray, classes: Sequence[str]) -> Iterator[_Contrast]:
    known = index >= 0
    for cut in range(1, len(classes)):
        score = logsumexp(logits[:, cut:], axis=1) - logsumexp(logits[:, :cut], axis=1)
        labels = np.where(known, index >= cut, np.nan)
        yield _Contrast(f"{''.join(classes[:cut])} v {''.join(classes[cut:])}", False, labels, score)
    for low, high in combinations(range(len(classes)), 2):
        labels = np.where((index == low) | (index == high), index == high, np.nan)
        yield _Contrast(f"{classes[low]} v {classes[high]}", True, labels, logits[:, high] - logits[:, low])


def _against_rest(index: np.ndarray, logits: np.ndarray, classes: Sequence[str]) -> Iterator[_Contrast]:
    for place, name in enumerate(classes):
        others = np.delete(logits, place, axis=1)
        score = logits[:, place] - logsumexp(others, axis=1)
        yield _Contrast(name, False, np.where(index >= 0, index == place, np.nan), score)
