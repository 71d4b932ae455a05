"""From what a method says of the films to its figures, and to the cases and curves behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import expit

from mmil_cli.metrics.classification import ClassificationTable, classification_table
from mmil_cli.metrics.curves import Curves, curves
from mmil_cli.metrics.decisions import DecisionTable, Thresholds, choose_thresholds, decision_table
from mmil_cli.metrics.several_classes import ClassTable, class_table
from mmil_cli.stages.cases import Cases
from mmil_cli.stages.policies import Method
from mmil_cli.stages.probe_readers import Readings
from mmil_cli.stages.probe_task import ProbeTask


@dataclass(frozen=True, kw_only=True, eq=False)
class MethodResult:
    """The figures of one method.

    Attributes:
        method: which.
        table: the findings it was tried on, and their mean; chance is 0.5 for AUROC, prevalence for AUPRC.
        decisions: F1, sensitivity, specificity at thresholds chosen on the validate split; Brier score and
            ECE.
        thresholds: of each finding, on the scale of the scores.
        classes: the tasks of several classes.
        curves: ROC, precision and recall, and reliability of each finding.
        cases: the score of every film.
        skipped: the other findings, and why.
        details: what was chosen for each finding, such as the penalty of its linear probe.
    """

    method: Method
    table: ClassificationTable
    decisions: DecisionTable
    thresholds: Mapping[str, Thresholds]
    classes: Mapping[str, ClassTable] = field(default_factory=dict)
    curves: Mapping[str, Curves] = field(default_factory=dict)
    cases: tuple[Cases, ...] = ()
    skipped: Mapping[str, str]
    details: Mapping[str, Mapping[str, Any]]


def score_method(
    method: Method,
    readings: Readings,
    task: ProbeTask,
    *,
    seed: int,
    probabilities: Mapping[str, np.ndarray] | None = None,
) -> MethodResult:
    """All figures of a method on the split that is scored.

    Args:
        method: which.
        readings: what it says of the films.
        task: with the labels.
        seed: of the bootstrap.
        probabilities: of findings whose log-odds were calibrated; the others take the sigmoid of theirs.
    """
    names = list(readings.scored)
    labels, patients = _columns(task, names, task.scored), task.patients[task.scored]
    scores = _stacked(readings.scored, names, len(task.scored))
    shares = _stacked({**{n: expit(s) for n, s in readings.scored.items()}, **(probabilities or {})}, names,
                      len(task.scored))  # fmt: skip
    held_out = _columns(task, names, task.validate)
    thresholds = {
        name: choose_thresholds(held_out[:, place], readings.validate[name])
        for place, name in enumerate(names)
    }
    return MethodResult(
        method=method,
        table=classification_table(labels, scores, groups=patients, names=names, seed=seed),
        decisions=decision_table(
            labels,
            scores,
            shares,
            thresholds=list(thresholds.values()),
            groups=patients,
            names=names,
            seed=seed,
        ),
        thresholds=thresholds,
        classes=_class_tables(readings, task, seed=seed),
        curves={n: curves(labels[:, i], scores[:, i], shares[:, i]) for i, n in enumerate(names)},
        cases=tuple(_cases(method, task, name, labels[:, i], scores[:, i]) for i, name in enumerate(names)),
        skipped=readings.skipped,
        details=readings.details,
    )


def _columns(task: ProbeTask, names: list[str], rows: np.ndarray) -> np.ndarray:
    return task.labels[rows][:, [task.names.index(name) for name in names]]


def _stacked(values: Mapping[str, np.ndarray], names: list[str], length: int) -> np.ndarray:
    return np.stack([values[name] for name in names], axis=1) if names else np.empty((length, 0))


def _class_tables(readings: Readings, task: ProbeTask, *, seed: int) -> dict[str, ClassTable]:
    return {
        target.name: class_table(
            target.index[task.scored],
            readings.classes[target.name],
            classes=target.classes,
            is_ordinal=target.is_ordinal,
            groups=task.patients[task.scored],
            seed=seed,
        )
        for target in task.targets
        if target.name in readings.classes
    }


def _cases(method: Method, task: ProbeTask, name: str, labels: np.ndarray, scores: np.ndarray) -> Cases:
    """The labelled films of a finding."""
    known = ~np.isnan(labels)
    rows = task.scored[known]
    return Cases(
        part=str(method),
        name=name,
        case_id=task.images[rows],
        patient_id=task.patients[rows],
        label=labels[known],
        value=scores[known],
    )
