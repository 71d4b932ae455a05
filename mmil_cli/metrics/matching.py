"""Which items of a gallery match a query, by keys they share: as pairs, because a query has few matches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Pairs:
    """Matches of some queries: the query and the gallery item of each, by query in ascending order."""

    queries: np.ndarray
    items: np.ndarray


class Matcher:
    """Finds the matches of a block of queries without a table of queries by items.

    Args:
        keys: for each way to match, the keys of the queries [Q] and of the gallery [G]; those of equal keys
            match, and one way is enough.
        itself: the gallery item that is the query itself [Q], which is taken out of its gallery; None where
            queries and gallery are different things.
    """

    def __init__(
        self, keys: Sequence[tuple[np.ndarray, np.ndarray]], *, itself: np.ndarray | None = None
    ) -> None:
        self._ways = [(queries, _Lookup(items)) for queries, items in keys]
        self.itself = itself

    def of(self, block: slice | np.ndarray) -> Pairs:
        """The matches of some queries, by slice or number, numbered from the first of them; no pair twice."""
        found = [lookup.pairs(queries[block]) for queries, lookup in self._ways]
        queries, items = (np.concatenate(side) for side in zip(*found, strict=True))
        distinct = np.unique(np.stack([queries, items], axis=1), axis=0) if len(found) > 1 else None
        if distinct is not None:
            queries, items = distinct.T
        if self.itself is not None:
            other = items != self.itself[block][queries]
            queries, items = queries[other], items[other]
        return Pairs(queries, items)


class _Lookup:
    """Items by key."""

    def __init__(self, keys: np.ndarray) -> None:
        self.order = np.argsort(keys, kind="stable")
        self.keys = keys[self.order]

    def pairs(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each wanted key's number, and an item that has it."""
        first = np.searchsorted(self.keys, wanted, side="left")
        counts = np.searchsorted(self.keys, wanted, side="right") - first
        queries = np.repeat(np.arange(len(wanted)), counts)
        within = np.arange(len(queries)) - np.repeat(np.cumsum(counts) - counts, counts)
        return queries, self.order[np.repeat(first, counts) + within]
