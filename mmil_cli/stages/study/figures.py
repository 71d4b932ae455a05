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
        num_groups: patients (or bags, or batches) that these are.
    """

    metric: str
    value: float
    finding: str = ""
    chance: float = math.nan
    draws: np.ndarray | None = None
    cases: str = ""
    num_groups: int = 0


def mean_figure(
    metric: str,
    values: np.ndarray,
    *,
    groups: np.ndarray,
    among: np.ndarray | None = None,
    finding: str = "",
    chance: float = math.nan,
) -> Figure:
    """The mean of a figure of each case, NaN left out; undefined where no case has one.

    Args:
        metric: its name.
        values: of each case [n].
        groups: the patient, or the bag or batch, of each case; whole groups are resampled [n].
        among: all groups there are, where some have no case of this figure; None for those of `groups`.
        finding: what it is of.
        chance: what knowing nothing gives.
    """
    drawn = resamples(groups, among)
    column = np.asarray(values, np.float64)[:, None]
    return Figure(
        metric=metric,
        value=float(mean_of_defined(column.T)[0]),
        finding=finding,
        chance=chance,
        draws=weighted_mean(column, drawn.weights)[:, 0],
        cases=drawn.cases,
        num_groups=drawn.num_groups,
    )


def auroc_figure(
    metric: str,
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    groups: np.ndarray,
    among: np.ndarray | None = None,
    finding: str = "",
) -> Figure:
    """The area under the ROC curve over cases, chance 0.5.

    Args:
        metric: its name.
        labels: 0 or 1 of each case [n].
        scores: of each case [n].
        groups: as with `mean_figure` [n].
        among: the same.
        finding: what it is of.
    """
    drawn = resamples(groups, among)
    return Figure(
        metric=metric,
        value=float(auroc(labels, scores)),
        finding=finding,
        chance=0.5,
        draws=np.asarray(auroc(labels, scores, drawn.weights)),
        cases=drawn.cases,
        num_groups=drawn.num_groups,
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
        num_groups=known[0].num_groups,
    )


@dataclass(frozen=True, eq=False)
class Resamples:
    """How often each case is drawn.

    Attributes:
        weights: in each resample [SAMPLES, n].
        cases: the name of these resamples.
        num_groups: that were drawn from.
    """

    weights: np.ndarray
    cases: str
    num_groups: int


def resamples(groups: np.ndarray, among: np.ndarray | None = None) -> Resamples:
    """Resamples of whole groups; they depend on the set of groups alone, not on the order of their cases.

    Args:
        groups: of each case [n].
        among: all groups there are; None for those of the cases.
    """
    named = np.asarray(groups).astype(str)
    members = np.unique(named if among is None else np.asarray(among).astype(str))
    digest = hashlib.sha256("\0".join(members.tolist()).encode()).hexdigest()[:16]
    # A seed of their own: in all cells the same for the same patients, and unrelated for others.
    drawn = patient_weights(members, samples=SAMPLES, seed=int(digest, 16))
    return Resamples(drawn[:, np.searchsorted(members, named)], digest, len(members))
