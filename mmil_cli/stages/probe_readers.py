"""The ways of reading findings off a model by labels: each takes a set of labels and gives scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import nn

from mmil_cli.stages.knn_probe import fit_neighbours, unit_rows
from mmil_cli.stages.label_sets import LabelSet
from mmil_cli.stages.label_training import (
    Inputs,
    Tuning,
    has_every_class,
    predict,
    splits_of,
    train_network,
)
from mmil_cli.stages.linear_probe import Examples, FeatureSpace, fit_probe


@dataclass(frozen=True, kw_only=True, eq=False)
class Readings:
    """What a method says of the films.

    Attributes:
        scored: log-odds of each finding that could be learned, of the films to be scored [n].
        validate: the same of the validation films [m]; thresholds are chosen on them.
        classes: logits of each further task, of the films to be scored [n, K].
        skipped: the other findings and tasks, and why.
        details: what was chosen for each.
    """

    scored: Mapping[str, np.ndarray]
    validate: Mapping[str, np.ndarray]
    classes: Mapping[str, np.ndarray]
    skipped: Mapping[str, str]
    details: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Parts:
    """Something of the training films, of the validation films and of those to be scored."""

    train: np.ndarray
    validate: np.ndarray
    scored: np.ndarray


class Reader(Protocol):
    """A method that learns from labels; `is_random` says whether it draws lots of its own."""

    is_random: bool

    def __call__(self, labels: LabelSet, *, seed: int) -> Readings:
        """Learns, and reads the films."""
        ...


class LinearReader:
    """Logistic regression, one a finding and one of several classes a task.

    Args:
        features: pooled features of the films [n, C].
    """

    is_random = False

    def __init__(self, features: Parts) -> None:
        self.space = FeatureSpace.of(features.train)
        self.at = Parts(*(self.space.coordinates(part) for part in vars(features).values()))

    def __call__(self, labels: LabelSet, *, seed: int) -> Readings:
        """Fits each finding on its labelled films."""
        fits, skipped, details = {}, {}, {}
        for name, train, validate, num_classes in columns_of(labels):
            examples = Examples.labelled(self.at.train, train, labels.train_patients, num_classes=num_classes)
            if not examples.has_all:
                skipped[name] = f"the train split has {examples.counts} films"
                continue
            held_out = Examples.labelled(
                self.at.validate, validate, labels.validate_patients, num_classes=num_classes
            )
            fits[name] = fit_probe(examples, held_out, variance=self.space.variance, seed=seed)
            details[name] = {"num_train": len(examples.labels), **fits[name].choices()}
        scored = {name: fit.scores(self.at.scored) for name, fit in fits.items()}
        validate_scores = {name: fit.scores(self.at.validate) for name, fit in fits.items()}
        return _readings(labels, scored, validate_scores, skipped, details)


class NeighbourReader:
    """The k most similar labelled films.

    Args:
        features: pooled features of the films [n, C].
    """

    is_random = False

    def __init__(self, features: Parts) -> None:
        mean = features.train.mean(axis=0)
        self.at = Parts(*(unit_rows(part, mean=mean) for part in vars(features).values()))

    def __call__(self, labels: LabelSet, *, seed: int) -> Readings:  # noqa: ARG002 - nothing is random
        """Looks the neighbours up, finding by finding, among its labelled films."""
        scored, validate_scores, skipped, details = {}, {}, {}, {}
        for name, train, validate, num_classes in columns_of(labels):
            if not has_every_class(train, num_classes):
                skipped[name] = why_skipped(train, num_classes)
                continue
            known, held_out = train >= 0, validate >= 0
            found = fit_neighbours(
                self.at.train[known],
                train[known].astype(np.int64),
                num_classes=num_classes,
                validate=self.at.validate[held_out],
                validate_labels=validate[held_out].astype(np.int64),
                queries=np.concatenate([self.at.scored, self.at.validate]),
            )
            scored[name], validate_scores[name] = np.split(found.scores, [len(self.at.scored)])
            details[name] = {
                "num_train": int(known.sum()),
                "neighbours": found.num_neighbours,
                "chosen_on": found.chosen_on,
            }
        return _readings(labels, scored, validate_scores, skipped, details)


class NetworkReader:
    """A network with an output a finding and an output a class, trained on all of them together.

    Args:
        make: the network at its start, for so many outputs.
        train, validate, scored: what it reads of the films.
        tuning: how it is trained.
    """

    is_random = True

    def __init__(
        self,
        make: Callable[[int], nn.Module],
        *,
        train: Inputs,
        validate: Inputs,
        scored: Inputs,
        tuning: Tuning,
    ) -> None:
        self.make, self.tuning = make, tuning
        self.train, self.validate, self.scored = train, validate, scored

    def __call__(self, labels: LabelSet, *, seed: int) -> Readings:
        """Trains on the films that have any label, stopping by the loss on the validation films."""
        columns = list(columns_of(labels))
        skipped = {
            name: why_skipped(train, num_classes)
            for name, train, _, num_classes in columns
            if not has_every_class(train, num_classes)
        }
        if len(skipped) == len(columns):
            return Readings(scored={}, validate={}, classes={}, skipped=skipped, details={})
        sizes = tuple(len(part.classes) for part in labels.classes)
        outputs = len(labels.names) + sum(sizes)
        trained = train_network(
            lambda: self.make(outputs),
            *splits_of(labels, self.train, self.validate),
            sizes=sizes,
            tuning=self.tuning,
            seed=seed,
        )
        scored, held_out = (
            _by_name(predict(trained.model, inputs, device=self.tuning.device), labels, skipped)
            for inputs in (self.scored, self.validate)
        )
        details = {name: trained.choices() for name in scored}
        return _readings(labels, scored, held_out, skipped, details)


def columns_of(labels: LabelSet) -> list[tuple[str, np.ndarray, np.ndarray, int]]:
    """Name, labels to train on, labels to choose on and number of classes of all that is to be learned."""
    findings = [
        (name, labels.train[:, place], labels.validate[:, place], 2)
        for place, name in enumerate(labels.names)
    ]
    return [*findings, *((p.name, p.train, p.validate, len(p.classes)) for p in labels.classes)]


def why_skipped(train: np.ndarray, num_classes: int) -> str:
    """That a class is missing, with the numbers there are."""
    known = train[train >= 0].astype(np.int64)
    return f"the train split has {Examples(known, known, known, num_classes).counts} films"


def _by_name(logits: np.ndarray, labels: LabelSet, skipped: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The outputs of a network by what they are of, without those that could not be learned."""
    widths = [1] * len(labels.names) + [len(part.classes) for part in labels.classes]
    names = [*labels.names, *(part.name for part in labels.classes)]
    if not len(logits):
        return {name: np.empty(0) for name in names if name not in skipped}
    parts = np.split(logits, np.cumsum(widths)[:-1], axis=1)
    return {
        name: part[:, 0] if width == 1 else part
        for name, part, width in zip(names, parts, widths, strict=True)
        if name not in skipped
    }


def _readings(
    labels: LabelSet,
    scored: Mapping[str, np.ndarray],
    validate: Mapping[str, np.ndarray],
    skipped: Mapping[str, str],
    details: Mapping[str, Mapping[str, Any]],
) -> Readings:
    tasks = {part.name for part in labels.classes}
    return Readings(
        scored={name: values for name, values in scored.items() if name not in tasks},
        validate={name: values for name, values in validate.items() if name not in tasks},
        classes={name: _logits(values) for name, values in scored.items() if name in tasks},
        skipped=skipped,
        details=details,
    )


def _logits(values: np.ndarray) -> np.ndarray:
    """Logits of classes [n, K]: of two, log-odds [n] are those of the second."""
    return values if values.ndim == 2 else np.column_stack([np.zeros(len(values)), values])
