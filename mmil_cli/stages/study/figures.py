"""What a cell of a study comes to: figures, each with the resamples of cases that its interval needs."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmil_cli.metrics.classification import auroc
from mmil_cli.metrics.intervals import mean_of_defined, patient_weights, weighted_mean

SAMPLES = 1000
"""Resamples of cases behind a figure."""

_SEED = 0  # one for all cells: figures of the same patients have the same resamples, so they can be paired


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """One number of a cell.

    Attributes:
        metric: one that the kind of the cell declares.
        value: NaN where undefined.
        finding: what it is of; empty for the mean over all, which is what tables and claims take.
        chance: what knowing nothing gives; NaN where that has no meaning.
        draws: the value under each resample of the cases [SAMPLES]; None where it has no cases.
        cases: names whose cases were resampled: figures of equal names have the same resamples.
    """

    metric: str
    value: float
    finding: str = ""
    chance: float = math.nan
    draws: np.ndarray | None = None
    cases: str = ""


def mean_figure(
    metric: str,
    values: np.ndarray,
    *,
    groups: np.ndarray,
    finding: str = "",
    chance: float = math.nan,
) -> Figure:
    """The mean of a figure of each case, NaN left out; undefined where no case has one.

    Args:
        metric: its name.
        values: of each case [n].
        groups: the patient, or the bag or batch, of each case; whole groups are resampled [n].
        finding: what it is of.
        chance: what knowing nothing gives.
    """
    weights, cases = resamples(groups)
    column = np.asarray(values, np.float64)[:, None]
    return Figure(
        metric=metric,
        value=float(mean_of_defined(column.T)[0]),
        finding=finding,
        chance=chance,
        draws=weighted_mean(column, weights)[:, 0],
        cases=cases,
    )


def auroc_figure(
    metric: str, labels: np.ndarray, scores: np.ndarray, *, groups: np.ndarray, finding: str = ""
) -> Figure:
    """The area under the ROC curve over cases, chance 0.5.

    Args:
        metric: its name.
        labels: 0 or 1 of each case [n].
        scores: of each case [n].
        groups: as with `mean_figure` [n].
        finding: what it is of.
    """
    weights, cases = resamples(groups)
    return Figure(
        metric=metric,
        value=float(auroc(labels, scores)),
        finding=finding,
        chance=0.5,
        draws=np.asarray(auroc(labels, scores, weights)),
        cases=cases,
    )


def mean_of_figures(metric: str, figures: Sequence[Figure]) -> Figure:
    """The mean over findings of figures that have the same resamples; undefined ones are left out.

    Raises:
        AssertionError: they have not.
    """
    known = [figure for figure in figures if not math.isnan(figure.value)]
    assert len({figure.cases for figure in known}) <= 1, "figures of one mean must share their cases"
    if not known:
        return Figure(metric=metric, value=math.nan)
    draws = [figure.draws for figure in known if figure.draws is not None]
    return Figure(
        metric=metric,
        value=float(np.mean([figure.value for figure in known])),
        chance=float(np.mean([figure.chance for figure in known])),
        draws=mean_of_defined(np.stack(draws, axis=-1)) if len(draws) == len(known) else None,
        cases=known[0].cases,
    )


def resamples(groups: np.ndarray) -> tuple[np.ndarray, str]:
    """How often each case is drawn in each resample [SAMPLES, n], and the name of these resamples.

    They depend on the set of groups alone, not on the order or the number of their cases.
    """
    members, place = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    weights = patient_weights(members, samples=SAMPLES, seed=_SEED)[:, place]
    digest = hashlib.sha256("\0".join(members.tolist()).encode()).hexdigest()[:16]
    return weights, digest
