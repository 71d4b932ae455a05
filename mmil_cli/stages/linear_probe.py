"""A linear probe: logistic regression on frozen features, one finding at a time."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

PENALTIES = (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001)
DEFAULT_PENALTY = 0.1
NUM_FOLDS = 5
MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Examples:
    """Labelled films of one finding.

    Attributes:
        features: [n, C].
        labels: 0 or 1 [n].
        groups: the patient of each [n].
    """

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    @classmethod
    def labelled(cls, features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> "Examples":
        """Those whose label is not missing (NaN)."""
        known = ~np.isnan(labels)
        return cls(features[known], labels[known].astype(np.int64), groups[known])

    @property
    def has_both(self) -> bool:
        """Whether there are positive and negative ones."""
        return len(np.unique(self.labels)) == 2

    @property
    def counts(self) -> str:
        """How many of each, in words."""
        num_positive = int(self.labels.sum())
        return f"{num_positive} positive and {len(self.labels) - num_positive} negative"

    def take(self, rows: np.ndarray) -> "Examples":
        """Some of them."""
        return Examples(self.features[rows], self.labels[rows], self.groups[rows])


@dataclass(frozen=True)
class FittedProbe:
    """The probe of one finding.

    Attributes:
        model: logistic regression on standardised features.
        scaler: standardises them by the mean and variance of the training films.
        penalty: the chosen strength of regularisation.
        chosen_on: what it was chosen on, in words.
        converged: whether the fit reached its optimum.
    """

    model: LogisticRegression
    scaler: StandardScaler
    penalty: float
    chosen_on: str
    converged: bool

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Log-odds of the finding [n]."""
        return self.model.decision_function(self.scaler.transform(features))

    def choices(self) -> dict[str, Any]:
        """What was chosen, for a record."""
        return {"penalty": self.penalty, "chosen_on": self.chosen_on, "converged": self.converged}


def fit_probe(train: Examples, validate: Examples, *, seed: int) -> FittedProbe:
    """Fits one finding on the training films; both classes must be among them.

    Minimises `mean log loss + penalty / 2 |w|^2`, the penalty being the one of PENALTIES with the lowest
    log loss on the validation films, or in folds of the training films by patient where the validation
    films do not have both classes.

    Args:
        train: to fit on.
        validate: to choose the penalty on; may be empty.
        seed: of the folds.
    """
    if validate.has_both:
        splits, chosen_on = [(train, validate)], "validate split"
    else:
        splits, chosen_on = list(_folds(train, seed)), "folds of the train split"
    if not splits:
        return _fit(train, DEFAULT_PENALTY, "nothing: too few patients to choose on")
    losses = [np.mean([_loss(*split, penalty) for split in splits]) for penalty in PENALTIES]
    return _fit(train, PENALTIES[int(np.argmin(losses))], chosen_on)


def _folds(train: Examples, seed: int) -> Iterator[tuple[Examples, Examples]]:
    """Train and held-out films of each fold, no patient in both; folds that lack a class are left out."""
    num_folds = min(NUM_FOLDS, len(np.unique(train.groups)))
    if num_folds < 2:
        return
    folds = GroupKFold(n_splits=num_folds, shuffle=True, random_state=seed)
    for kept, held in folds.split(train.features, groups=train.groups):
        parts = train.take(kept), train.take(held)
        if all(part.has_both for part in parts):
            yield parts


def _loss(train: Examples, held_out: Examples, penalty: float) -> float:
    """Log loss, from log-odds, for a weak penalty can make them too large for probabilities."""
    scores = _fit(train, penalty, "").scores(held_out.features).astype(np.float64)
    return float(np.logaddexp(0.0, np.where(held_out.labels == 1, -scores, scores)).mean())


def _fit(train: Examples, penalty: float, chosen_on: str) -> FittedProbe:
    scaler = StandardScaler().fit(train.features)
    # scikit-learn sums the log loss over the films, so its C is the inverse of n times the penalty
    model = LogisticRegression(C=1 / (penalty * len(train.labels)), max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by `converged`
        model.fit(scaler.transform(train.features), train.labels)
    converged = bool(model.n_iter_.max() < MAX_ITERATIONS)
    return FittedProbe(model, scaler, penalty, chosen_on, converged)
