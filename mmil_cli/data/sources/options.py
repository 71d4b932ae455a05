"""What may be asked of a source beside its path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmil_cli.data.pseudonyms import Pseudonyms
from mmil_cli.errors import listing


@dataclass(frozen=True)
class SourceOptions:
    """Options of all sources; those that are not a source's own are refused (`Source.takes`).

    Attributes:
        source: the source's name; None recognises it from its files.
        labels_only: keep films and labels and no report; the only way for sources that have no reports.
        columns: field -> column that holds it.
        labels: the label columns; None takes every column that holds nothing but labels.
        root: the folder of the films; None is that of the source.
        tables: the folder of the CSVs; None is that of the source.
        reports: where the reports lie; None is in the source.
        pseudonyms: what names ids; None leaves them as the source has them.
        study_days: keep the day of each study since the patient's first.
    """

    source: str | None = None
    labels_only: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    root: Path | None = None
    tables: Path | None = None
    reports: Path | None = None
    pseudonyms: Pseudonyms | None = None
    study_days: bool = False

    def given(self) -> tuple[str, ...]:
        """Names of the options that were asked of one kind of source."""
        asked = {
            "columns": bool(self.columns),
            "labels": self.labels is not None,
            "root": self.root is not None,
            "tables": self.tables is not None,
            "reports": self.reports is not None,
        }
        return tuple(name for name, is_asked in asked.items() if is_asked)

    def some(self, names: Sequence[str], most: int = 4) -> str:
        """A few names of files or ids in brackets, to end a note with; nothing where pseudonyms hide them."""
        return f" ({listing(names, most)})" if names and self.pseudonyms is None else ""


FLAGS = {"columns": "--column", **{name: f"--{name}" for name in ("labels", "root", "tables", "reports")}}
"""How the command line spells the options of `SourceOptions.given`."""
