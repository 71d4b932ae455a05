"""What one call of a study comes to: its data, rows, seeds, cells and claims."""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmil_cli.config.study import Claim, Settings, Study
from mmil_cli.errors import listing, nearest
from mmil_cli.stages.study.kinds import Metric, cell_kind

NO_DATA, NO_CONDITION = "", ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """An arm, or one combination of its grid: a row of the tables.

    Attributes:
        name: of the arm, with the values of its grid.
        arm: the arm's own name.
        kind: of its cells.
        settings: what it sets.
        floor: whether it is there to be beaten.
    """

    name: str
    arm: str
    kind: str
    settings: Settings
    floor: bool


@dataclass(frozen=True, kw_only=True)
class DataPlan:
    """Data of this run.

    Attributes:
        name: in the recipe.
        title: of its tables.
        kind: that makes it.
        settings: of the data.
        cells: settings of the cells on it.
        given: what `--data` names.
        arms: run on it.
        split: that is scored.
        boxes_split: whose phrases are grounded.
        offers: what it will have.
    """

    name: str
    title: str
    kind: str
    settings: Settings
    cells: Settings
    given: Path | None
    arms: frozenset[str]
    split: str
    boxes_split: str
    offers: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run: a row on some data, under a condition, from a seed.

    Attributes:
        data: name; NO_DATA for none.
        condition: name; NO_CONDITION for the only one.
        row: what is run.
        seed: from which.
        settings: everything laid over each other.
        needs: folders of the cells that must be finished before, by arm.
    """

    data: str
    condition: str
    row: Row
    seed: int
    settings: Settings
    needs: Mapping[str, str]

    @property
    def name(self) -> str:
        """For people."""
        return ", ".join(filter(None, (self.data, self.condition, self.row.name, f"seed {self.seed}")))

    @property
    def folder(self) -> str:
        """Of its own among the cells: readable, and one for each name."""
        return folder_name(self.data, self.condition, self.row.name, self.seed)


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """What one call of a study comes to.

    Attributes:
        study: as the recipe has it.
        form: the name of the form.
        scale: of its sizes.
        data: those that are used.
        conditions: by name; one without a name where the study has none.
        rows: in the order of the recipe, floors last.
        seeds: of every row.
        cells: all, those that others need first.
        claims: those that this form can decide.
        untested: the others.
    """

    study: Study
    form: str
    scale: float
    data: tuple[DataPlan, ...]
    conditions: tuple[str, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    claims: tuple[Claim, ...]
    untested: tuple[Claim, ...]

    def row_names(self, name: str) -> tuple[str, ...]:
        """The rows that a claim means by a name: one row, or all of an arm."""
        exact = tuple(row.name for row in self.rows if row.name == name)
        return exact or tuple(row.name for row in self.rows if row.arm == name)

    def data_names(self) -> tuple[str, ...]:
        """The data of this run; NO_DATA alone where cells need none."""
        return tuple(data.name for data in self.data) or (NO_DATA,)

    def fault_of(self, claim: Claim, data: str) -> str:
        """Why a claim cannot be asked of some data; empty where it can."""
        wanted = [(claim.better, claim.metric)]
        wanted += [(name, claim.than_metric or claim.metric) for name in claim.than]
        for name, metric in wanted:
            rows = self.row_names(name)
            mine = [cell for cell in self.cells if cell.data == data and cell.row.name in rows]
            if not mine:
                return f"arm {name} is not run on {data}"
            for cell in mine:
                known = self.metrics_of(cell)
                if metric not in known:
                    return (
                        f"cells of {cell.row.name} on {data or 'this study'} have no {metric!r}"
                        f"{nearest(metric, known)}; they come to {listing(list(known), 12)}"
                    )
                if known[metric].is_time:
                    return f"{metric} is a time, which decides no claim"
        return ""

    def metrics(self) -> Mapping[str, Metric]:
        """What all cells come to, by name."""
        return self._metrics

    def metrics_of(self, cell: Cell) -> Mapping[str, Metric]:
        """What a cell comes to."""
        return self._by_row[cell.data, cell.condition, cell.row.name]

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        return {name: metric for known in self._by_row.values() for name, metric in known.items()}

    @functools.cached_property
    def _by_row(self) -> dict[tuple[str, str, str], Mapping[str, Metric]]:
        """Of each row on each data under each condition; all of its seeds come to the same."""
        offers = {data.name: data.offers for data in self.data}
        cells = {(cell.data, cell.condition, cell.row.name): cell for cell in reversed(self.cells)}
        return {
            key: cell_kind(cell.row.kind).metrics(cell.settings, offers=offers.get(cell.data))
            for key, cell in reversed(cells.items())
        }


def folder_name(data: str, condition: str, row: str, seed: int) -> str:
    """A folder for a cell: its names as far as file systems take them, and a digest that tells them apart."""
    words = "-".join(filter(None, (data, condition, row)))
    readable = re.sub(r"[^A-Za-z0-9+=.,]+", "_", words)[:60].strip("_.")
    digest = hashlib.sha256(json.dumps([data, condition, row]).encode()).hexdigest()[:6]
    return f"{readable}-{digest}-s{seed}"
