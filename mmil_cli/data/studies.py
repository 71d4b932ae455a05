"""Which films go with a report: one, or all those of its study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from mmil_cli.data.dataset import StudyDataset


@dataclass(frozen=True, kw_only=True)
class Bags:
    """Bags of films, each with one report.

    Attributes:
        rows: a dataset row for each bag, the first of its films.
        several: the films of those bags that have more than one, by that row.
        limit: films of a bag to look at; None for all.
    """

    rows: np.ndarray
    several: Mapping[int, tuple[int, ...]]
    limit: int | None = None

    @property
    def most(self) -> int:
        """Films of the largest bag."""
        return max((self._size(row) for row in self.several), default=1)

    @property
    def num_films(self) -> int:
        """Films of all bags together."""
        return len(self.rows) + sum(self._size(row) - 1 for row in self.several)

    def films(self, row: int) -> tuple[int, ...]:
        """The first films of a bag."""
        return self.several.get(row, (row,))[: self.limit]

    def drawn(self, row: int, *, seed: int, step: int) -> tuple[int, ...]:
        """The films of a bag in a step; of too many some are drawn by seed, step and row, in their order."""
        films = self.several.get(row, (row,))
        if self.limit is None or len(films) <= self.limit:
            return films
        chosen = np.random.default_rng([seed, step, row]).permutation(len(films))[: self.limit]
        return tuple(films[place] for place in sorted(chosen))

    def all_films(self) -> np.ndarray:
        """The films of all bags, bag after bag."""
        return np.array([film for row in self.rows.tolist() for film in self.films(row)], dtype=np.int64)

    def bag_of_films(self) -> np.ndarray:
        """For each of `all_films` the place of its bag."""
        return np.repeat(np.arange(len(self.rows)), [self._size(row) for row in self.rows.tolist()])

    def thinned(self, most: int) -> Self:
        """Every k-th bag, so that there are at most so many films, but for one bag."""
        rows = self.rows[:: max(1, -(-self.num_films // most))]
        kept = set(rows.tolist()) & self.several.keys()
        return type(self)(rows=rows, several={row: self.several[row] for row in kept}, limit=self.limit)

    def _size(self, row: int) -> int:
        return len(self.films(row))


def one_film_bags(rows: np.ndarray) -> Bags:
    """Each film as a bag of its own."""
    return Bags(rows=rows, several={})


def study_bags(dataset: StudyDataset, rows: np.ndarray, *, limit: int | None = None) -> Bags:
    """The films of each study as one bag; should they differ in report, of each of its reports."""
    keys = [
        np.unique(dataset.column(name)[rows], return_inverse=True)[1] for name in ("study_id", "text_key")
    ]
    _, bag = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
    order = np.argsort(bag, kind="stable")
    groups = np.split(rows[order], np.flatnonzero(np.diff(bag[order])) + 1) if len(rows) else []
    films = sorted((tuple(group.tolist()) for group in groups), key=_first)
    return Bags(
        rows=np.array([group[0] for group in films], dtype=np.int64),
        several={group[0]: group for group in films if len(group) > 1},
        limit=limit,
    )


def _first(films: Sequence[int]) -> int:
    return films[0]
