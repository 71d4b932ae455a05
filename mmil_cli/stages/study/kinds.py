"""What a study is put together from: kinds of cells and kinds of data, each a module behind one name.

A cell is a function of its settings, its seed and its data, and of nothing else. The engine expands a recipe
to cells, runs them and tells claims; it knows nothing of what a cell does. To add a kind, write a module
with the functions of `CellKind` (or `DataKind`) and one line in the registry below.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mmil_cli.errors import UsageError, nearest
from mmil_cli.stages.study.figures import Figure

Settings = Mapping[str, Any]
"""Keys of a cell as the recipe has them, flat: base, form, data, arm and grid laid over each other."""

OnProgress = Callable[[int, int], None]
"""Told what is done, of how much."""


def _silent(done: int, total: int) -> None:
    """Tells nobody."""


REPORTS, LABELS, BOXES = "reports", "labels", "boxes"
"""What data can have for cells to use."""
EVERYTHING = frozenset((REPORTS, LABELS, BOXES))


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that cells of a kind come to.

    Attributes:
        title: for tables, such as `pointing game`.
        higher_is_better: else lower is.
        is_time: seconds: they differ from run to run, so they stand in tables of their own and no claim
            takes them.
    """

    title: str
    higher_is_better: bool = True
    is_time: bool = False


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """Data of a study, made and ready.

    Attributes:
        name: in the recipe.
        title: what it is, such as `generated studies, not patients`.
        offers: which of REPORTS, LABELS and BOXES it has.
        folder: the dataset folder.
        phrases: table of phrases and boxes; None without BOXES.
        content_hash: changes with anything in it.
        split: that is scored.
        boxes_split: whose phrases are grounded.
    """

    name: str
    title: str
    offers: frozenset[str]
    folder: Path
    phrases: Path | None
    content_hash: str
    split: str = "test"
    boxes_split: str = "test"


@dataclass(frozen=True, kw_only=True)
class CellPlace:
    """Where a cell works, and what it may use.

    Attributes:
        folder: its own; what it leaves there stays, and a cell that was killed finds it again.
        seed: of everything random in it.
        data: None for cells that need none.
        needed: folders of the finished cells that it asked for, by arm.
        device: auto, cpu or cuda.
        on_progress: told of steps.
    """

    folder: Path
    seed: int
    data: StudyData | None = None
    needed: Mapping[str, Path] = field(default_factory=dict)
    device: str = "auto"
    on_progress: OnProgress = _silent


class CellKind(Protocol):
    """A module that runs cells."""

    @staticmethod
    def check(settings: Settings, *, offers: frozenset[str] | None) -> None:
        """Refuses settings before anything is run.

        Args:
            settings: of a cell.
            offers: of its data; None without data.

        Raises:
            UsageError: one sentence: the key, the value, those allowed.
        """

    @staticmethod
    def metrics(settings: Settings, *, offers: frozenset[str] | None) -> Mapping[str, Metric]:
        """What a cell of these settings will come to, by name (`task/part/metric`, such as
        `probe/linear/auroc`)."""

    @staticmethod
    def needs(settings: Settings) -> tuple[str, ...]:
        """Arms whose cells of the same data and seed must be finished before."""

    @staticmethod
    def work(settings: Settings, *, data: StudyData | None) -> float:
        """How long a cell takes beside others of its kind, in any unit, such as steps of training."""

    @staticmethod
    def seconds(settings: Settings, place: CellPlace) -> float:
        """How long the cell will take here, by doing a little of it; leaves nothing behind."""

    @staticmethod
    def commands(settings: Settings, place: CellPlace) -> tuple[str, ...]:
        """What to type to do the same by other commands of mmil; none where there are none."""

    @staticmethod
    def run(settings: Settings, place: CellPlace) -> Iterable[Figure]:
        """Runs the cell, or goes on with what a killed one left in the folder.

        The figures of a given cell are always the same, however often it was killed on the way; only metrics
        that are times may differ.
        """


class DataKind(Protocol):
    """A module that makes datasets."""

    @staticmethod
    def check(settings: Settings, *, given: Path | None) -> None:
        """Refuses settings before anything is made.

        Args:
            settings: of the data.
            given: what `--data NAME=PATH` names.

        Raises:
            UsageError: one sentence.
        """

    @staticmethod
    def offers(settings: Settings, *, given: Path | None) -> frozenset[str]:
        """Which of REPORTS, LABELS and BOXES it will have."""

    @staticmethod
    def make(
        settings: Settings, folder: Path, *, given: Path | None, on_progress: OnProgress
    ) -> tuple[Path, Path | None]:
        """Makes the dataset in the folder, or finds what is there; atomic, and the same for every call.

        Returns:
            The dataset folder, and the table of phrases if it has boxes.
        """


CELL_KINDS = {
    "estimators": "mmil_cli.stages.study.estimator_cells",
    "bags": "mmil_cli.stages.study.bag_cells",
    "checkpoint": "mmil_cli.stages.study.checkpoint_cells",
    "labels": "mmil_cli.stages.study.label_cells",
    "floor": "mmil_cli.stages.study.floor_cells",
    "sums": "mmil_cli.stages.study.sum_cells",
}
DATA_KINDS = {
    "digits": "mmil_cli.stages.study.digit_data",
    "generated": "mmil_cli.stages.study.generated_data",
    "dataset": "mmil_cli.stages.study.given_data",
    "none": "mmil_cli.stages.study.no_data",
}


def cell_kind(name: str) -> CellKind:
    """The kind of cells of a name; imported only now, for some load much.

    Raises:
        UsageError: there is none.
    """
    return _find(name, CELL_KINDS, "kind of cell")


def data_kind(name: str) -> DataKind:
    """The kind of data of a name.

    Raises:
        UsageError: there is none.
    """
    return _find(name, DATA_KINDS, "kind of data")


def _find(name: str, known: Mapping[str, str], what: str) -> Any:
    if name not in known:
        raise UsageError(f"no {what} {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    return importlib.import_module(known[name])
