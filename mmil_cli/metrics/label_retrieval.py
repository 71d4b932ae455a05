"""Precision at k by label: how many of the first k items have the finding that the query has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmil_cli.metrics.average_precision import chance_average_precision, precision_figures
from mmil_cli.metrics.intervals import (
    Interval,
    interval,
    mean_of_defined,
    patient_weights,
    weighted_mean,
)


@dataclass(frozen=True)
class LabelFigure:
    """One figure beside the expectation of a random order of the same gallery."""

    measured: Interval
    chance: float


@dataclass(frozen=True)
class LabelRow:
    """`P@k` and `mAP` of the queries that have a finding.

    `num_gallery` items are labelled with it, `num_positive` of them have it; each query's own patient is
    left out of its gallery.
    """

    name: str
    num_queries: int
    num_gallery: int
    num_positive: int
    figures: Mapping[str, LabelFigure]


@dataclass(frozen=True)
class LabelTable:
    """The findings that some query has, and the mean over them."""

    mean: LabelRow
    findings: tuple[LabelRow, ...]


@dataclass(frozen=True, eq=False)
class LabelSide:
    """Queries or gallery: labels [n, L] (1, 0, -1 uncertain, NaN missing), and the patient of each [n]."""

    labels: np.ndarray
    patients: np.ndarray


@dataclass(frozen=True, eq=False)
class LabelCases:
    """Figures of the queries that have one finding [n, K], what chance gives each, and which they are."""

    queries: np.ndarray
    figures: np.ndarray
    chance: np.ndarray


MOST_QUERIES = 1000
"""Of one finding; of more, evenly spaced ones are asked: each sorts its gallery."""


class LabelCounter:
    """Gathers P@k and average precision block by block.

    A query counts for each finding it has (1), one of every so many where there are over `MOST_QUERIES`. Its
    gallery is what is labelled 1 or 0 of other patients, for to find the query's own patient again is no
    skill with findings.

    Args:
        names: of the findings.
        queries: all of them.
        gallery: all of it.
        ks: the k of P@k.
    """

    def __init__(
        self, names: Sequence[str], queries: LabelSide, gallery: LabelSide, *, ks: Sequence[int]
    ) -> None:
        self.names, self.queries, self.gallery, self.ks = tuple(names), queries, gallery, tuple(ks)
        self.columns = (*(f"P@{k}" for k in ks), "mAP")
        self._asked = queries.labels == 1
        for number in range(len(self.names)):
            having = np.flatnonzero(self._asked[:, number])
            self._asked[having, number] = False
            self._asked[having[:: max(1, -(-len(having) // MOST_QUERIES))], number] = True
        self._parts: dict[str, list[LabelCases]] = {name: [] for name in names}

    def add(self, places: np.ndarray, scores: np.ndarray) -> None:
        """Count some queries, by their numbers [b], with their scores [b, G]; scores are left as they are."""
        for number, name in enumerate(self.names):
            having = np.flatnonzero(self._asked[places, number])
            of_items = self.gallery.labels[:, number]
            known = np.flatnonzero((of_items == 1) | (of_items == 0))
            if having.size and (of_items == 1).any():
                self._parts[name].append(
                    self._count(places[having], scores[np.ix_(having, known)], known, of_items[known] == 1)
                )

    def _count(
        self, queries: np.ndarray, scores: np.ndarray, known: np.ndarray, positive: np.ndarray
    ) -> LabelCases:
        own = self.queries.patients[queries][:, None] == self.gallery.patients[known]
        figures = precision_figures(np.where(own, -np.inf, scores), positive, ks=self.ks)
        size, num_positive = (~own).sum(axis=1), (~own & positive).sum(axis=1)
        share = num_positive / np.maximum(size, 1)
        of_random = np.column_stack([*(share for _ in self.ks), chance_average_precision(num_positive, size)])
        return LabelCases(queries, figures, np.where(np.isnan(figures), np.nan, of_random))

    def cases(self) -> dict[str, LabelCases]:
        """By finding, those that any query and any gallery item has."""
        return {
            name: LabelCases(
                *(
                    np.concatenate([getattr(part, what) for part in parts])
                    for what in ("queries", "figures", "chance")
                )
            )
            for name, parts in self._parts.items()
            if parts
        }

    def table(self, *, samples: int = 1000, seed: int = 0) -> LabelTable | None:
        """Means with intervals that resample patients; None where no finding could be counted."""
        cases = self.cases()
        if not cases:
            return None
        sizes = [len(part.queries) for part in cases.values()]
        everyone = np.concatenate([self.queries.patients[part.queries] for part in cases.values()])
        weights = np.split(
            patient_weights(everyone, samples=samples, seed=seed), np.cumsum(sizes)[:-1], axis=1
        )
        draws = [weighted_mean(part.figures, own) for part, own in zip(cases.values(), weights, strict=True)]
        rows = [
            self._row(name, part, drawn) for (name, part), drawn in zip(cases.items(), draws, strict=True)
        ]
        return LabelTable(self._mean(rows, np.stack(draws)), tuple(rows))

    def _row(self, name: str, part: LabelCases, draws: np.ndarray) -> LabelRow:
        of_items = self.gallery.labels[:, self.names.index(name)]
        means, chance = mean_of_defined(part.figures.T), mean_of_defined(part.chance.T)
        return LabelRow(
            name=name,
            num_queries=len(part.queries),
            num_gallery=int(((of_items == 0) | (of_items == 1)).sum()),
            num_positive=int((of_items == 1).sum()),
            figures=self._figures(means, draws, chance),
        )

    def _mean(self, rows: Sequence[LabelRow], draws: np.ndarray) -> LabelRow:
        """Over findings; `draws` [findings, S, K]."""
        values = np.array([[row.figures[name].measured.value for name in self.columns] for row in rows])
        chance = np.array([[row.figures[name].chance for name in self.columns] for row in rows])
        return LabelRow(
            name=f"mean of {len(rows)}",
            num_queries=sum(row.num_queries for row in rows),
            num_gallery=len(self.gallery.patients),
            num_positive=sum(row.num_positive for row in rows),
            figures=self._figures(
                mean_of_defined(values.T),
                mean_of_defined(draws.transpose(1, 2, 0)),
                mean_of_defined(chance.T),
            ),
        )

    def _figures(self, means: np.ndarray, draws: np.ndarray, chance: np.ndarray) -> dict[str, LabelFigure]:
        return {
            name: LabelFigure(interval(float(means[i]), draws[:, i]), float(chance[i]))
            for i, name in enumerate(self.columns)
        }
