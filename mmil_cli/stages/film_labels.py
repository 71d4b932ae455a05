"""The labels of a dataset's films: its own, or those of a table that came later."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.tables import Table, label_columns, read_table
from mmil_cli.errors import DataError, UsageError, listing

KEYS = {"image_id": "image_id", "dicom_id": "image_id", "study_id": "study_id"}
"""Columns that say whose labels a row holds, the first one there wins, and what the dataset calls them."""


@dataclass(frozen=True, eq=False)
class FilmLabels:
    """Labels of every row of a dataset.

    Attributes:
        names: the findings.
        values: 1, 0, -1 uncertain or NaN missing [rows, F].
        notes: what the reader must know.
    """

    names: tuple[str, ...]
    values: np.ndarray
    notes: tuple[str, ...] = ()

    def of(self, names: Sequence[str]) -> np.ndarray:
        """The labels of some findings."""
        return self.values[:, [self.names.index(name) for name in names]]


def own_labels(dataset: StudyDataset) -> FilmLabels:
    """Those that the dataset was made with."""
    return FilmLabels(dataset.label_names, dataset.labels())


def labels_of_table(path: Path, dataset: StudyDataset) -> FilmLabels:
    """The labels of a table with `image_id` (or `dicom_id`) or `study_id`; a film that it lacks has none.

    Every other column that holds nothing but labels, or grades of 0 to 9, is taken, but for ids and blank
    ones.

    Raises:
        UsageError: the table has no such column, no labels, or none of the dataset's films.
        DataError: it cannot be read, or gives one film different labels.
    """
    table = read_table(path)
    key = next((name for name in KEYS if name in table.columns), None)
    if key is None:
        raise UsageError(
            f"--label-table {path} has none of the columns {', '.join(KEYS)}, so nothing tells whose "
            "labels it holds"
        )
    columns = dict(pair for name in table.columns if name != key for pair in _labels(table, name))
    if not columns:
        raise UsageError(
            f"--label-table {path} has no column of labels (1, 0, -1, blank) or of grades (0 to 9)"
        )
    told = np.array(list(columns.values()), dtype=np.float32).T  # None becomes NaN
    places = _places(table, key, told)
    rows = dataset.column(KEYS[key])
    found = [place for place in (places.get(str(row)) for row in rows) if place is not None]
    if not found:
        raise UsageError(
            f"--label-table {path} holds labels of other films: none of its {len(places)} values of "
            f"{key}, such as {next(iter(places), '')!r}, is in {dataset.folder}, which has {str(rows[0])!r}; "
            "give this dataset's table"
        )
    values = np.full((len(rows), len(columns)), np.nan, np.float32)
    for row, name in enumerate(rows):
        if str(name) in places:
            values[row] = told[places[str(name)]]
    unknown = len(set(places) - set(rows.tolist()))
    without = len(rows) - len(found)
    notes = [f"{path.name}: {unknown} of its films or studies are not in this dataset"] if unknown else []
    notes += [f"{path.name}: no labels of {without} of {len(rows)} films; left out"] if without else []
    return FilmLabels(tuple(columns), values, tuple(notes))


def _places(table: Table, key: str, told: np.ndarray) -> dict[str, int]:
    """The first row of each id; the labels [rows, F] of its other rows must be the same."""
    places: dict[str, int] = {}
    contradicted = []
    for place, name in enumerate(table.column(key)):
        first = places.setdefault(name, place)
        if not np.array_equal(told[first], told[place], equal_nan=True):
            contradicted.append(name)
    if contradicted:
        raise DataError(
            f"{table.path} has several rows that differ of {listing(list(dict.fromkeys(contradicted)))}; "
            f"keep one row a value of {key}"
        )
    return places


def _labels(table: Table, name: str) -> list[tuple[str, list[int | None]]]:
    values = table.column(name)
    if name.endswith("_id") or not any(value.strip() for value in values):
        return []
    try:
        return label_columns(values, column=name, path=table.path)
    except DataError:  # age, view, a path: no column of labels
        return []
