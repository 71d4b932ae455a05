"""What may be asked of a source beside its path."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SourceOptions:
    """Options of all sources; each source refuses those that are not its own.

    Attributes:
        columns: for a table, field -> column that holds it.
        labels: for a table, the label columns; None takes every column that holds nothing but labels.
        root: for a table, the folder that relative paths start from; None is the table's own.
        tables: for a MIMIC-CXR tree, the folder of its CSVs; None is the tree's own.
        reports: for a MIMIC-CXR tree, the tree of its reports; None is the tree of the films.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    root: Path | None = None
    tables: Path | None = None
    reports: Path | None = None
