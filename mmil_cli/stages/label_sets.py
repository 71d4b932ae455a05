"""Labels to learn from, and how few of them: shares of the patients, or k films of each class."""

import re
from dataclasses import dataclass, replace

import numpy as np

from mmil_cli.errors import UsageError

LEFT_OUT = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassLabels:
    """Films of which each is of one class.

    Attributes:
        name: what is told apart, such as `severity`.
        classes: their names, in order where they are grades.
        train: class of each training film, LEFT_OUT where it has none [n].
        validate: the same of the validation films [m].
        scored: the same of the films to be scored [k].
        is_ordinal: whether the classes are grades.
    """

    name: str
    classes: tuple[str, ...]
    train: np.ndarray
    validate: np.ndarray
    scored: np.ndarray
    is_ordinal: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelSet:
    """What may be learned from.

    Attributes:
        names: the findings.
        train: 0, 1 or NaN (not there, or not to be used) [n, F].
        validate: the same of the validation films, to choose on [m, F].
        classes: further things to tell apart, each of several classes.
        train_patients: whose each training film is [n].
        validate_patients: the same of the validation films [m].
    """

    names: tuple[str, ...]
    train: np.ndarray
    validate: np.ndarray
    classes: tuple[ClassLabels, ...]
    train_patients: np.ndarray
    validate_patients: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many labels may be used: a share of the patients, or k films of each class of each finding.

    Attributes:
        share: of the patients, in (0, 1]; None for k-shot.
        shots: k; None for a share.
    """

    share: float | None = None
    shots: int | None = None

    @property
    def name(self) -> str:
        """`10%`, or `16-shot`."""
        return f"{self.shots}-shot" if self.share is None else f"{100 * self.share:g}%"

    @property
    def is_everything(self) -> bool:
        """Whether nothing is drawn."""
        return self.share == 1.0


ALL_LABELS = Budget(share=1.0)


def parse_budget(text: str) -> Budget:
    """`10%` or `16` (16-shot) as a budget.

    Raises:
        UsageError: it is neither.
    """
    share = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if share and 0 < float(share[1]) <= 100:
        return Budget(share=float(share[1]) / 100)
    if text.strip().isdecimal() and int(text) > 0:
        return Budget(shots=int(text))
    raise UsageError(
        f"--labels: {text.strip()!r} is no number of labels; give shares of the patients such as "
        "1%,10%,100%, or films of each class such as 1,4,16"
    )


def draw(labels: LabelSet, budget: Budget, *, seed: int) -> LabelSet:
    """The labels that a budget leaves, by lot; what is chosen on (the validation films) shrinks alike.

    A share keeps all films of that share of the patients, rounded, at least one. k-shot keeps k positive and
    k negative films of each finding, of as many patients as there are, drawn for each finding by itself; a
    finding of one class in the whole train split keeps none.

    Raises:
        UsageError: a finding has fewer than k training films of a class.
    """
    if budget.is_everything:
        return labels
    if budget.share is not None:
        return _share(labels, budget.share, np.random.default_rng(seed))
    assert budget.shots is not None
    return _shots(labels, budget.shots, seed)


def _share(labels: LabelSet, share: float, generator: np.random.Generator) -> LabelSet:
    train = _drawn_patients(labels.train_patients, share, generator)
    validate = _drawn_patients(labels.validate_patients, share, generator)
    return replace(
        labels,
        train=np.where(train[:, None], labels.train, np.nan),
        validate=np.where(validate[:, None], labels.validate, np.nan),
        classes=tuple(
            replace(
                part,
                train=np.where(train, part.train, LEFT_OUT),
                validate=np.where(validate, part.validate, LEFT_OUT),
            )
            for part in labels.classes
        ),
    )


def _drawn_patients(patients: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """True for the films of a share of the patients."""
    distinct = np.unique(patients)
    if not len(distinct):
        return np.zeros(0, bool)
    number = max(1, round(share * len(distinct)))
    return np.isin(patients, generator.permutation(distinct)[:number])


def _shots(labels: LabelSet, shots: int, seed: int) -> LabelSet:
    train, validate = np.full_like(labels.train, np.nan), np.full_like(labels.validate, np.nan)
    for place, name in enumerate(labels.names):
        if len(np.unique(labels.train[~np.isnan(labels.train[:, place]), place])) < 2:
            continue  # nothing can learn it from any number of labels, and the result says so
        generator = np.random.default_rng([seed, place])
        for value in (0, 1):
            word = ("negative", "positive")[value]
            rows = some_of(labels.train[:, place] == value, labels.train_patients, shots, generator)
            _check_shots(len(rows), shots, f"{word} films of {name}")
            train[rows, place] = value
            rows = some_of(labels.validate[:, place] == value, labels.validate_patients, shots, generator)
            validate[rows, place] = value
    classes = tuple(_class_shots(part, labels, shots, seed) for part in labels.classes)
    return replace(labels, train=train, validate=validate, classes=classes)


def _class_shots(part: ClassLabels, labels: LabelSet, shots: int, seed: int) -> ClassLabels:
    train, validate = np.full_like(part.train, LEFT_OUT), np.full_like(part.validate, LEFT_OUT)
    for place, name in enumerate(part.classes):
        generator = np.random.default_rng([seed, len(labels.names) + place])
        rows = some_of(part.train == place, labels.train_patients, shots, generator)
        _check_shots(len(rows), shots, f"films of {part.name} {name}")
        train[rows] = place
        rows = some_of(part.validate == place, labels.validate_patients, shots, generator)
        validate[rows] = place
    return replace(part, train=train, validate=validate)


def some_of(
    candidates: np.ndarray, patients: np.ndarray, number: int, generator: np.random.Generator
) -> np.ndarray:
    """At most so many of the rows that are True, second films of a patient only after all first ones."""
    rows = generator.permutation(np.flatnonzero(candidates))
    _, first = np.unique(patients[rows], return_index=True)
    is_first = np.zeros(len(rows), bool)
    is_first[first] = True
    return np.concatenate([rows[is_first], rows[~is_first]])[:number]


def _check_shots(found: int, shots: int, what: str) -> None:
    if found < shots:
        raise UsageError(
            f"--labels {shots} asks for {shots} {what} to learn from, but the train split has {found}; "
            "ask for fewer, or leave the finding out with --findings"
        )
