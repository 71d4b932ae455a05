"""A linear probe: logistic regression on frozen features, its penalty chosen along a path."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logsumexp, softmax
from sklearn.model_selection import GroupKFold

from mmil_cli.runtime import one_blas_thread

PENALTIES = (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001)
DEFAULT_PENALTY = 0.1
NUM_FOLDS = 5
MAX_ITERATIONS = 1000
TOLERANCE = 1e-6  # of the gradient where the curvature is about 1, hence of the log-odds


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Features standardised and turned onto their principal axes, once for all fits on them.

    A turn changes neither the penalty |w|^2 nor the fit; along principal axes the curvature of the log loss
    is near p (1 - p) variance + penalty, which makes every fit well conditioned.

    Attributes:
        mean: of each feature over the training films, labelled or not [C].
        scale: their standard deviation, 1 where it is 0 [C].
        axes: orthonormal columns [C, C].
        variance: of the standardised features along each axis [C].
    """

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "FeatureSpace":
        """The space of training features [n, C], n at least 1."""
        wide = features.astype(np.float64)
        mean, scale = wide.mean(axis=0), wide.std(axis=0)
        scale[scale == 0] = 1.0
        standard = (wide - mean) / scale
        variance, axes = np.linalg.eigh(standard.T @ standard / len(standard))
        return cls(mean, scale, axes, np.clip(variance, 0.0, None))

    def coordinates(self, features: np.ndarray) -> np.ndarray:
        """Features in this space, float64 [n, C]."""
        return ((features.astype(np.float64) - self.mean) / self.scale) @ self.axes


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled films.

    Attributes:
        features: coordinates in a `FeatureSpace` [n, C].
        labels: class of each, 0..K-1 [n].
        groups: the patient of each [n].
        num_classes: K; 2 for a finding.
    """

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    num_classes: int = 2

    @classmethod
    def labelled(
        cls, features: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, num_classes: int = 2
    ) -> "Examples":
        """Those whose label is not missing: NaN, or below 0."""
        known = labels >= 0  # False for NaN
        if known.all():  # no copy of a large array
            return cls(features, labels.astype(np.int64), groups, num_classes)
        return cls(features[known], labels[known].astype(np.int64), groups[known], num_classes)

    @property
    def has_all(self) -> bool:
        """Whether there are films of every class."""
        return len(np.unique(self.labels)) == self.num_classes

    @property
    def counts(self) -> str:
        """How many of each class, in words."""
        numbers = np.bincount(self.labels, minlength=self.num_classes)
        if self.num_classes == 2:
            return f"{numbers[1]} positive and {numbers[0]} negative"
        return f"{', '.join(map(str, numbers))} of its classes"

    def take(self, rows: np.ndarray) -> "Examples":
        """Some of them."""
        return Examples(self.features[rows], self.labels[rows], self.groups[rows], self.num_classes)


@dataclass(frozen=True, eq=False)
class FittedProbe:
    """The probe of one finding, or of some classes.

    Attributes:
        weights: in the coordinates of the space [C], or [C, K] for K > 2 classes.
        bias: [], or [K].
        penalty: the chosen strength of regularisation.
        chosen_on: what it was chosen on, in words.
        converged: whether the fit reached its optimum.
    """

    weights: np.ndarray
    bias: np.ndarray
    penalty: float
    chosen_on: str
    converged: bool

    def scores(self, coordinates: np.ndarray) -> np.ndarray:
        """Log-odds of the finding [n], or logits of the classes [n, K]."""
        return coordinates @ self.weights + self.bias

    def choices(self) -> dict[str, Any]:
        """What was chosen, for a record."""
        return {"penalty": self.penalty, "chosen_on": self.chosen_on, "converged": self.converged}


@one_blas_thread()  # with two, a fit of 20,000 x 512 features takes ten times as long
def fit_probe(train: Examples, validate: Examples, *, variance: np.ndarray, seed: int) -> FittedProbe:
    """Fits the training films; every class must be among them.

    Minimises `mean log loss + penalty / 2 |w|^2` by L-BFGS, from the strongest of PENALTIES to the weakest,
    each from the optimum of the one before. Taken is the penalty with the lowest log loss on the validation
    films, or in folds of the training films by patient where the validation films lack a class.

    Args:
        train: to fit on.
        validate: to choose the penalty on; may be empty.
        variance: of the space that the coordinates are of [C].
        seed: of the folds.
    """
    if validate.has_all:
        path = list(penalty_path(train, variance, PENALTIES, "validate split"))
        losses = [log_loss(probe.scores(validate.features), validate.labels) for probe in path]
        return path[int(np.argmin(losses))]
    folds = [_fold_losses(*split, variance) for split in _folds(train, seed)]
    if not folds:
        *_, last = penalty_path(train, variance, (DEFAULT_PENALTY,), "nothing: too few patients to choose on")
        return last
    best = int(np.argmin(np.mean(folds, axis=0)))
    *_, last = penalty_path(train, variance, PENALTIES[: best + 1], "folds of the train split")
    return last


def log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean log loss, from log-odds [n] or logits [n, K], for these can be too large for probabilities."""
    if scores.ndim == 2:
        return float(-log_softmax(scores, axis=1)[np.arange(len(labels)), labels].mean())
    return float(np.logaddexp(0.0, np.where(labels == 1, -scores, scores)).mean())


def _folds(train: Examples, seed: int) -> Iterator[tuple[Examples, Examples]]:
    """Train and held-out films of each fold, no patient in both; folds that lack a class are left out."""
    num_folds = min(NUM_FOLDS, len(np.unique(train.groups)))
    if num_folds < 2:
        return
    folds = GroupKFold(n_splits=num_folds, shuffle=True, random_state=seed)
    for kept, held in folds.split(train.features, groups=train.groups):
        parts = train.take(kept), train.take(held)
        if all(part.has_all for part in parts):
            yield parts


def _fold_losses(train: Examples, held_out: Examples, variance: np.ndarray) -> list[float]:
    path = penalty_path(train, variance, PENALTIES, "")
    return [log_loss(probe.scores(held_out.features), held_out.labels) for probe in path]


def penalty_path(
    train: Examples, variance: np.ndarray, penalties: tuple[float, ...], chosen_on: str
) -> Iterator[FittedProbe]:
    """The optimum at each penalty, each fit starting where the one before ended."""
    num_outputs = 1 if train.num_classes == 2 else train.num_classes
    weights, bias = np.zeros((train.features.shape[1], num_outputs)), np.zeros(num_outputs)
    for penalty in penalties:
        weights, bias, converged = _minimise(train, variance, penalty, weights, bias)
        shown = (weights, bias) if num_outputs > 1 else (weights[:, 0], bias[0])
        yield FittedProbe(shown[0], shown[1], penalty, chosen_on, converged)


def _minimise(
    train: Examples, variance: np.ndarray, penalty: float, weights: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """L-BFGS on u = (w, b) / unit, in which the curvature is about 1 in all directions."""
    share = np.bincount(train.labels, minlength=train.num_classes) / len(train.labels)
    spread = share * (1 - share) if train.num_classes > 2 else (share[0] * share[1])[None]  # p (1 - p) [K]
    unit = 1 / np.sqrt(np.vstack([variance[:, None] * spread + penalty, spread]))  # [C + 1, K]
    targets = np.eye(train.num_classes)[train.labels] if train.num_classes > 2 else train.labels[:, None]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = unit * flat.reshape(unit.shape)
        logits = train.features @ scaled[:-1] + scaled[-1]  # [n, K]
        value, residual = _log_loss_gradient(logits, targets)
        gradient = np.vstack([train.features.T @ residual + penalty * scaled[:-1], residual.sum(axis=0)])
        return value + penalty / 2 * float((scaled[:-1] ** 2).sum()), (unit * gradient).ravel()

    start = np.vstack([weights, bias]) / unit
    options = {"gtol": TOLERANCE, "ftol": 1e-14, "maxiter": MAX_ITERATIONS, "maxfun": 2 * MAX_ITERATIONS}
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    best = unit * found.x.reshape(unit.shape)
    return best[:-1], best[-1], bool(np.abs(found.jac).max() <= 10 * TOLERANCE)


def _log_loss_gradient(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean log loss of logits [n, K], one column for two classes, and its gradient [n, K]."""
    num = len(logits)
    if logits.shape[1] == 1:
        value = float((np.logaddexp(0.0, logits) - targets * logits).sum()) / num
        return value, (expit(logits) - targets) / num
    value = float((logsumexp(logits, axis=1) - (targets * logits).sum(axis=1)).sum()) / num
    return value, (softmax(logits, axis=1) - targets) / num
