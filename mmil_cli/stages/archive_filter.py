"""Which films of an index a question is about."""

from dataclasses import dataclass

import numpy as np

from mmil_cli.errors import UsageError
from mmil_cli.stages.archive import Archive


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which films, or reports of which films, to look among; an empty one is all.

    Attributes:
        labels: findings that the film must have, or with `=0` must be known not to have.
        split: of the dataset.
        view: such as PA.
        from_day, to_day: first and last day of the study since its patient's first one; films whose day is
            not known are left out.
    """

    labels: tuple[str, ...] = ()
    split: str | None = None
    view: str | None = None
    from_day: int | None = None
    to_day: int | None = None


def select_films(archive: Archive, chosen: Filter) -> np.ndarray:
    """Rows that pass a filter, in order.

    Raises:
        UsageError: an unknown finding, split or view, days of a dataset that keeps none, or nothing is left.
    """
    dataset = archive.evaluation.dataset
    kept = np.isin(np.arange(len(dataset)), dataset.indices(chosen.split))
    if chosen.view is not None:
        views = dataset.column("view")
        if chosen.view.upper() not in set(views):
            known = ", ".join(sorted({view or "unknown" for view in views}))
            raise UsageError(f"no film has the view {chosen.view!r}; there are: {known}")
        kept &= views == chosen.view.upper()
    for label in chosen.labels:
        name, _, value = label.partition("=")
        if value not in ("", "0", "1"):
            raise UsageError(f"--label {label!r}: a finding, or FINDING=1, or FINDING=0")
        kept &= dataset.labels([name.strip()])[:, 0] == int(value or 1)
    if chosen.from_day is not None or chosen.to_day is not None:
        kept &= _of_days(dataset.study_days(), chosen.from_day, chosen.to_day)
    if not kept.any():
        raise UsageError("no film is left by the filters; loosen them")
    return np.flatnonzero(kept)


def _of_days(days: np.ndarray, first: int | None, last: int | None) -> np.ndarray:
    """Rows from one day to another, both included; a day that is not known (NaN) lies in no span."""
    if first is not None and last is not None and first > last:
        raise UsageError(f"--from-day {first} lies after --to-day {last}")
    return (days >= (0 if first is None else first)) & (days <= (np.inf if last is None else last))
