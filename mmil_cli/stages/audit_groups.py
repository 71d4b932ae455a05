"""Rows held against each other: leaks between splits, copies, and negatives among the others."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.likeness import ALIKE_FINE, alike_pairs, fine_structure, likeness_to_mean
from mmil_cli.stages.audit_checks import Example, Found, found
from mmil_cli.stages.audit_rows import Gathered

LEAST_OF_VIEW = 16
"""Films of a view that it takes to say how they look."""

LEAST_IN_COMMON = 0.3
"""Median likeness to the mean film of a view below which its films have no look in common."""

NEGATIVE = -0.25
"""Likeness to the mean film of a view below which a film is taken for a negative; of 359 measured films, the
least like the others had -0.13."""

MOST_CANDIDATES = 20_000
"""Pairs that are looked at closely; more, and only the likeliest are."""

ROWS_SHOWN = 4


def compare(dataset: StudyDataset, gathered: Gathered) -> tuple[list[Found], list[str]]:
    """What shows only when rows are held against each other, and what was not looked at."""
    facts, splits = gathered.facts, gathered.splits
    patients = list(_torn(facts["patient"], facts["split"], splits))
    torn_patients = {int(facts["patient"][rows.rows[0]]) for rows in patients}
    studies = [
        case
        for case in _torn(facts["study"], facts["split"], splits)
        if not {int(facts["patient"][row]) for row in case.rows} & torn_patients
    ]
    near, inner, notes = _near(dataset, gathered)
    inverted, untold = _inverted(gathered)
    return [
        *found("leaked-patients", patients),
        *found("leaked-studies", studies),
        *_copies(gathered, "pixels", "leaked-films", "duplicate-films"),
        *_copies(gathered, "text", "leaked-reports", "duplicate-reports"),
        *found("leaked-near-films", near),
        *found("near-duplicate-films", inner),
        *found("inverted-films", inverted),
    ], [*notes, *untold]


def _groups(keys: NDArray[np.uint64], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Rows of equal keys, at least two a group, in the order of their first row; a key of 0 is none."""
    rows = rows[keys[rows] != 0]
    order = rows[np.argsort(keys[rows], kind="stable")]
    groups = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1) if len(order) else []
    yield from sorted((group for group in groups if len(group) > 1), key=lambda group: int(group[0]))


def _torn(keys: NDArray[np.uint64], split: NDArray[np.uint16], splits: list[str]) -> Iterator[Example]:
    """Groups of rows in more than one split, shown by one row of each split."""
    for group in _groups(keys, np.arange(len(keys))):
        places, first = np.unique(split[group], return_index=True)
        if len(places) > 1:
            rows = tuple(int(row) for row in group[np.sort(first)])
            yield Example(rows, f"in {', '.join(splits[place] for place in split[list(rows)])}")


def _copies(gathered: Gathered, key: str, leaked: str, repeated: str) -> list[Found]:
    """Rows of equal films, or studies of equal reports: across splits, and within one."""
    facts = gathered.facts
    rows = np.arange(len(facts))
    if key == "text":  # films of one study share its report, which is no copy
        keys = np.stack([facts[name].astype(np.uint64) for name in ("study", "text", "split")], axis=1)
        _, first = np.unique(keys, axis=0, return_index=True)
        rows = np.sort(first)
    across: list[Example] = []
    within: list[Example] = []
    num_across = num_within = 0
    for group in _groups(facts[key], rows):
        if key == "text" and len(np.unique(facts["study"][group])) == 1:
            continue  # a study in two splits is told as that
        names = [gathered.splits[place] for place in np.unique(facts["split"][group])]
        case = Example(_shown(group, facts["split"]), f"{len(group)} times in {', '.join(names)}")
        (across if len(names) > 1 else within).append(case)
        num_across += (len(group) if key == "pixels" else 1) if len(names) > 1 else 0
        num_within += len(group) if len(names) == 1 else 0
    return [*found(leaked, across, count=num_across), *found(repeated, within, count=num_within)]


def _shown(group: NDArray[np.int64], split: NDArray[np.uint16]) -> tuple[int, ...]:
    """A few rows of a group, one of each split before more of any."""
    first = group[np.unique(split[group], return_index=True)[1]]
    rest = np.setdiff1d(group, first)
    return tuple(sorted(int(row) for row in [*first, *rest][:ROWS_SHOWN]))


def _near(dataset: StudyDataset, gathered: Gathered) -> tuple[list[Example], list[Example], list[str]]:
    """Pairs alike but not equal: across splits, within one, and a note where not all could be looked at."""
    facts = gathered.facts
    keys, distinct = np.unique(facts["pixels"], return_index=True)
    distinct = np.sort(distinct[keys != 0])
    total, likely = _likeliest(facts["coarse"][distinct])
    closely = lru_cache(maxsize=256)(lambda row: fine_structure(dataset.pixels(row)))
    across: list[Example] = []
    within: list[Example] = []
    for first, second in likely:
        rows = int(distinct[first]), int(distinct[second])
        likeness = float(closely(rows[0]) @ closely(rows[1]))
        if likeness > ALIKE_FINE:
            torn = facts["split"][rows[0]] != facts["split"][rows[1]]
            names = dict.fromkeys(gathered.splits[facts["split"][row]] for row in rows)
            (across if torn else within).append(
                Example(rows, f"likeness {likeness:.2f}, in {', '.join(names)}")
            )
    note = f"{total - MOST_CANDIDATES} of {total} pairs of films that are much alike, the least alike of them"
    return across, within, [note] if total > MOST_CANDIDATES else []


def _likeliest(descriptors: NDArray[np.float16]) -> tuple[int, list[tuple[int, int]]]:
    """How many pairs are alike by the coarse measure, and the most alike of them in order of rows."""
    kept = np.zeros((0, 3))
    total = 0
    for pairs in alike_pairs(descriptors):
        total += len(pairs)
        kept = np.concatenate([kept, pairs])
        kept = kept[np.argsort(-kept[:, 2], kind="stable")[:MOST_CANDIDATES]]
    return total, sorted((int(first), int(second)) for first, second, _ in kept)


def _inverted(gathered: Gathered) -> tuple[list[Example], list[str]]:
    """Films that look like the negative of the others of their view, and views where that cannot be told."""
    facts = gathered.facts
    cases: list[Example] = []
    notes: list[str] = []
    for place, view in enumerate(gathered.views):
        rows = np.flatnonzero((facts["view"] == place) & (facts["pixels"] != 0))
        told = f"{len(rows)} films of view {view or 'unknown'}, for negatives"
        if len(rows) < LEAST_OF_VIEW:
            notes.append(f"{told}: fewer than {LEAST_OF_VIEW}")
            continue
        likeness = likeness_to_mean(facts["coarse"][rows])
        if np.median(likeness) < LEAST_IN_COMMON:
            notes.append(f"{told}: they have no look in common")
            continue
        cases += [
            Example((int(rows[i]),), f"likeness {likeness[i]:.2f} to the others of view {view or 'unknown'}")
            for i in np.flatnonzero(likeness < NEGATIVE)
        ]
    return sorted(cases, key=lambda case: case.rows), notes
