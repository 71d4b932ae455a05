"""The score of every film with every distinct report, by rows or by columns, within a fixed memory."""

from collections.abc import Iterator, Sequence

import numpy as np

from mmil_cli.inference import Embedder
from mmil_cli.stages.gallery import ReportScorer
from mmil_cli.stages.region_store import RegionStore

MOST_SCORES = 2**26
"""Scores held at once, 256 MB. A larger table is computed twice, a block of rows and then of columns at a
time, rather than held."""

FILMS_AT_ONCE = 512


class ScoreTable:
    """S(X, Y) of films [F] and distinct reports [R].

    Args:
        embedder: runs the model.
        store: the films.
        reports: sentences of each distinct report.
    """

    def __init__(
        self,
        embedder: Embedder,
        store: RegionStore,
        reports: Sequence[Sequence[str]],
        *,
        most: int = MOST_SCORES,
    ) -> None:
        self.store, self.scorer, self.most = store, ReportScorer(embedder, reports), most
        fits = len(store) * len(self.scorer) <= most
        self._whole = np.concatenate([scores for _, scores in self._rows(self.scorer)]) if fits else None

    def films(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Blocks of films with all reports [b, R]."""
        if self._whole is None:
            yield from self._rows(self.scorer)
            return
        for block in _blocks(len(self.store), FILMS_AT_ONCE):
            yield block, self._whole[block]

    def reports(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Blocks of reports with all films [r, F]."""
        size = max(1, min(FILMS_AT_ONCE, self.most // max(1, len(self.store))))
        for block in _blocks(len(self.scorer), size):
            if self._whole is not None:
                yield block, self._whole[:, block].T
            else:
                columns = [scores for _, scores in self._rows(self.scorer.some(block))]
                yield block, np.concatenate(columns).T

    def _rows(self, scorer: ReportScorer) -> Iterator[tuple[slice, np.ndarray]]:
        size = max(1, min(FILMS_AT_ONCE, self.most // max(1, len(scorer))))
        for block in _blocks(len(self.store), size):
            yield block, scorer.scores_of(self.store.regions(block))


def _blocks(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
