"""Scores of the films of an index, in one stage or in two."""

import numpy as np

from mmil_cli.stages.archive import Archive
from mmil_cli.stages.gallery import ReportScorer
from mmil_cli.stages.region_store import RegionStore

SHORTLIST, LEAST_LISTED = 0.2, 200
"""Share of the films, and at least how many, that `fast` scores fully: on generated studies the first film is
then that of an exhaustive search for more than 99 % of queries (`mmil bench shortlist`; a tenth, which was
enough for the studies it was first chosen on, was not for others)."""

FILMS_AT_ONCE = 256


def shortlist(
    archive: Archive,
    scorer: ReportScorer,
    films: np.ndarray,
    *,
    share: float = SHORTLIST,
    least: int = LEAST_LISTED,
) -> list[np.ndarray]:
    """For each report of a scorer the films that score highest with it on the coarser grid.

    Args:
        archive: to look in.
        scorer: of the queries.
        films: to choose from.
        share: of them to choose.
        least: films to choose, however many there are.
    """
    size = max(least, int(np.ceil(share * len(films))))
    if size >= len(films):
        return [films] * len(scorer)
    scores = _scores(archive.coarse, scorer, films)
    return [films[np.sort(np.argpartition(-column, size)[:size])] for column in scores.T]


def full_scores(archive: Archive, scorer: ReportScorer, films: np.ndarray) -> np.ndarray:
    """The model's score of films with the reports of a scorer [films, R]; some films in memory at a time."""
    return _scores(archive.store, scorer, films)


def _scores(store: RegionStore, scorer: ReportScorer, films: np.ndarray) -> np.ndarray:
    blocks = range(0, len(films), FILMS_AT_ONCE)
    return np.concatenate(
        [scorer.scores_of(store.regions(films[start : start + FILMS_AT_ONCE])) for start in blocks]
    )
