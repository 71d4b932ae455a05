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
    """

    labels: tuple[str, ...] = ()
    split: str | None = None
    view: str | None = None


def select_films(archive: Archive, chosen: Filter) -> np.ndarray:
    """Rows that pass a filter, in order.

    Raises:
        UsageError: an unknown finding, split or view, or nothing is left.
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
    if not kept.any():
        raise UsageError("no film is left by the filters; loosen --label, --split or --view")
    return np.flatnonzero(kept)
