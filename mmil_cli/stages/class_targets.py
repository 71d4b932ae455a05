"""Tasks of several classes from a dataset's labels: grades, and films with one of some findings."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmil_cli.errors import UsageError, listing
from mmil_cli.stages.label_sets import LEFT_OUT, ClassLabels

CLASSES = "classes"
_THRESHOLD = re.compile(r"(?P<name>.+) >= (?P<least>\d+)")


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassTarget:
    """Which of several classes each film of the dataset is of.

    Attributes:
        name: `severity`, say, or CLASSES.
        classes: their names.
        index: class of each row, LEFT_OUT where it has none.
        is_ordinal: whether they are grades.
    """

    name: str
    classes: tuple[str, ...]
    index: np.ndarray
    is_ordinal: bool

    def of_rows(self, *, train: np.ndarray, validate: np.ndarray, scored: np.ndarray) -> ClassLabels:
        """The same by split."""
        return ClassLabels(
            name=self.name,
            classes=self.classes,
            train=self.index[train],
            validate=self.index[validate],
            scored=self.index[scored],
            is_ordinal=self.is_ordinal,
        )


def grades_of(names: Sequence[str], labels: np.ndarray) -> tuple[ClassTarget, ...]:
    """The grades that label columns `severity >= 1`, `severity >= 2`, ... tell of: one target each.

    A film's grade is the number of thresholds that it reaches. Films with a threshold that is missing, or
    reached above one that is not, are left out.

    Args:
        names: of the columns, whatever they are of.
        labels: 0, 1 or NaN [rows, F].
    """
    families: dict[str, dict[int, int]] = {}
    for column, name in enumerate(names):
        found = _THRESHOLD.fullmatch(name)
        if found:
            families.setdefault(found["name"], {})[int(found["least"])] = column
    return tuple(
        _grades(name, labels[:, [places[least] for least in sorted(places)]])
        for name, places in families.items()
        if sorted(places) == list(range(1, len(places) + 1)) and len(places) > 1
    )


def _grades(name: str, reached: np.ndarray) -> ClassTarget:
    """Grades from thresholds in rising order [rows, K - 1]."""
    known = ~np.isnan(reached).any(axis=1) & (np.diff(reached, axis=1) <= 0).all(axis=1)
    index = np.where(known, np.nan_to_num(reached).sum(axis=1), LEFT_OUT).astype(np.int64)
    return ClassTarget(
        name=name, classes=tuple(map(str, range(reached.shape[1] + 1))), index=index, is_ordinal=True
    )


def one_of(names: Sequence[str], raw: np.ndarray) -> ClassTarget:
    """Films with exactly one of some findings, no other uncertain, as in CheXpert 5x200; blank is 0.

    Args:
        names: the findings, two or more.
        raw: their labels as the dataset has them: 0, 1, -1 or NaN [rows, K].

    Raises:
        UsageError: there are fewer than two findings, or no film of one of them.
    """
    if len(names) < 2:
        raise UsageError(f"--classes names {listing(list(names))} alone; films are told apart by two or more")
    told = np.nan_to_num(raw, nan=0.0)
    alone = (told != 0).sum(axis=1) == 1
    index = np.where(alone & (told == 1).any(axis=1), told.argmax(axis=1), LEFT_OUT).astype(np.int64)
    empty = [name for place, name in enumerate(names) if not (index == place).any()]
    if empty:
        raise UsageError(
            f"--classes: no film has {listing(empty)} and none of the others of {listing(list(names))}; "
            "leave it out"
        )
    return ClassTarget(name=CLASSES, classes=tuple(names), index=index, is_ordinal=False)


def counts_of(part: ClassLabels) -> Mapping[str, int]:
    """How many films to be scored each class has."""
    return {name: int((part.scored == place).sum()) for place, name in enumerate(part.classes)}
