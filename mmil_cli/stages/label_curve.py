"""Findings told with few labels: every method at several numbers of labels, over several draws."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmil_cli.metrics.classification import auprc, auroc
from mmil_cli.metrics.intervals import mean_of_defined
from mmil_cli.metrics.several_classes import class_table
from mmil_cli.stages.label_sets import Budget, LabelSet, draw
from mmil_cli.stages.policies import Method
from mmil_cli.stages.probe_readers import Reader, Readings


@dataclass(frozen=True, kw_only=True)
class LabelPoint:
    """One method at one number of labels; a value a draw in every tuple, NaN where it is undefined.

    Attributes:
        method: which.
        budget: `10%` or `16-shot`.
        seeds: of the draws, and of what a method draws itself.
        num_patients: whose labels were used.
        num_labels: used to learn from, of all findings together.
        auroc, auprc: of each finding.
        mean_auroc, mean_auprc: over the findings that are defined in the draw.
        num_findings: how many these are.
        classes: mean AUROC of each task of several classes.
    """

    method: Method
    budget: str
    seeds: tuple[int, ...]
    num_patients: tuple[int, ...]
    num_labels: tuple[int, ...]
    auroc: Mapping[str, tuple[float, ...]]
    auprc: Mapping[str, tuple[float, ...]]
    mean_auroc: tuple[float, ...]
    mean_auprc: tuple[float, ...]
    num_findings: tuple[int, ...]
    classes: Mapping[str, tuple[float, ...]]

    def record(self) -> dict[str, Any]:
        """For JSON: mean and standard deviation over the draws beside the values."""
        return {
            "method": str(self.method),
            "labels": self.budget,
            "seeds": self.seeds,
            "num_patients": self.num_patients,
            "num_labels": self.num_labels,
            "num_findings": self.num_findings,
            "mean": {"auroc": over_draws(self.mean_auroc), "auprc": over_draws(self.mean_auprc)},
            "findings": {
                name: {"auroc": over_draws(values), "auprc": over_draws(self.auprc[name])}
                for name, values in self.auroc.items()
            },
            "classes": {name: {"auroc": over_draws(values)} for name, values in self.classes.items()},
        }


def over_draws(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation of what is defined, how much is not, and the values; NaN without any."""
    found = np.array(values, np.float64)
    defined = found[~np.isnan(found)]
    return {
        "mean": float(defined.mean()) if defined.size else float("nan"),
        "deviation": float(defined.std(ddof=1)) if defined.size > 1 else float("nan"),
        "num_undefined": int(found.size - defined.size),
        "values": tuple(values),
    }


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What is drawn.

    Attributes:
        budgets: numbers of labels.
        num_seeds: draws of each; one where neither labels nor method leave anything to chance.
        seed: of the first draw.
    """

    budgets: tuple[Budget, ...]
    num_seeds: int
    seed: int

    def seeds(self, budget: Budget, *, is_random: bool) -> tuple[int, ...]:
        """The seeds of one budget."""
        return tuple(
            range(self.seed, self.seed + (self.num_seeds if is_random or not budget.is_everything else 1))
        )

    def count(self, *, is_random: bool) -> int:
        """How many fits that makes for a method."""
        return sum(len(self.seeds(budget, is_random=is_random)) for budget in self.budgets)

    def check(self, labels: LabelSet) -> None:
        """Draws once at every budget, for what is missing is better told before the work than after it.

        Raises:
            UsageError: there are fewer labels than a budget asks for.
        """
        for budget in self.budgets:
            draw(labels, budget, seed=self.seed)


def label_points(
    method: Method,
    reader: Reader,
    labels: LabelSet,
    truth: np.ndarray,
    *,
    draws: Draws,
    full: Readings | None = None,
    on_fit: Callable[[], None] = lambda: None,
) -> Iterator[LabelPoint]:
    """One point a budget; the features of the reader serve all of them.

    Args:
        method: of the reader.
        reader: learns and reads.
        labels: all there are.
        truth: labels of the films to be scored, 0, 1 or NaN [n, F].
        draws: what to draw.
        full: what the reader gave for all labels and the first seed, if that is known.
        on_fit: told after each draw.
    """
    for budget in draws.budgets:
        seeds = draws.seeds(budget, is_random=reader.is_random)
        found = []
        for seed in seeds:
            drawn = draw(labels, budget, seed=seed)
            known = full if budget.is_everything and seed == draws.seed else None
            found.append((drawn, known or reader(drawn, seed=seed)))
            on_fit()
        yield _point(method, budget, seeds, found, truth)


def _point(
    method: Method,
    budget: Budget,
    seeds: tuple[int, ...],
    found: list[tuple[LabelSet, Readings]],
    truth: np.ndarray,
) -> LabelPoint:
    names = found[0][0].names
    areas = np.stack([_areas(labels.names, readings, truth) for labels, readings in found])  # [draws, F, 2]
    used = [(~np.isnan(labels.train)).any(axis=1) for labels, _ in found]
    return LabelPoint(
        method=method,
        budget=budget.name,
        seeds=seeds,
        num_patients=tuple(
            len(np.unique(labels.train_patients[rows])) for (labels, _), rows in zip(found, used, strict=True)
        ),
        num_labels=tuple(int((~np.isnan(labels.train)).sum()) for labels, _ in found),
        auroc={name: tuple(areas[:, place, 0].tolist()) for place, name in enumerate(names)},
        auprc={name: tuple(areas[:, place, 1].tolist()) for place, name in enumerate(names)},
        mean_auroc=tuple(mean_of_defined(areas[:, :, 0]).tolist()),
        mean_auprc=tuple(mean_of_defined(areas[:, :, 1]).tolist()),
        num_findings=tuple((~np.isnan(areas[:, :, 0])).sum(axis=1).tolist()),
        classes={
            part.name: tuple(_class_auroc(labels, readings, place) for labels, readings in found)
            for place, part in enumerate(found[0][0].classes)
        },
    )


def _areas(names: Sequence[str], readings: Readings, truth: np.ndarray) -> np.ndarray:
    """AUROC and AUPRC of every finding [F, 2]; NaN for those that could not be learned."""
    areas = np.full((len(names), 2), np.nan)
    for place, name in enumerate(names):
        if name in readings.scored:
            pair = truth[:, place], readings.scored[name]
            areas[place] = auroc(*pair), auprc(*pair)
    return areas


def _class_auroc(labels: LabelSet, readings: Readings, place: int) -> float:
    part = labels.classes[place]
    if part.name not in readings.classes:
        return float("nan")
    table = class_table(
        part.scored,
        readings.classes[part.name],
        classes=part.classes,
        is_ordinal=part.is_ordinal,
        groups=np.arange(len(part.scored)),
        samples=1,
    )
    return table.mean.value
