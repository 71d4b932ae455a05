"""Data of a study: a dataset folder that the user gives, perhaps with a table of phrases and boxes."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import DataError, UsageError
from mmil_cli.stages.study.kinds import BOXES, LABELS, REPORTS, OnProgress, Settings
from mmil_cli.stages.study.settings import settings_of


class Given(BaseModel):
    """What there is to set: `phrases`, a table, which `--phrases NAME=TABLE` gives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrases: str = ""


def check(settings: Settings, *, given: Path | None) -> None:
    """Refuses a folder that is not given or no dataset, and a table that is not there."""
    phrases = settings_of(Given, settings, what="data of kind dataset").phrases
    if given is None:
        raise UsageError("this data is a dataset folder of yours; give it with --data NAME=FOLDER")
    _open(given)
    if phrases and not Path(phrases).exists():
        raise UsageError(f"--phrases: there is no {phrases}")


def offers(settings: Settings, *, given: Path | None) -> frozenset[str]:
    """What the dataset has: reports, labels, and boxes where a table is given."""
    assert given is not None
    dataset = _open(given)
    found = {BOXES} if settings.get("phrases") else set()
    if dataset.label_names:
        found.add(LABELS)
    if not dataset.info.options.get("labels_only"):
        found.add(REPORTS)
    return frozenset(found)


def make(
    settings: Settings,
    folder: Path,  # noqa: ARG001
    *,
    given: Path | None,
    on_progress: OnProgress,  # noqa: ARG001
) -> tuple[Path, Path | None]:
    """The folder where it lies; nothing is copied."""
    assert given is not None
    phrases = settings.get("phrases")
    return given.resolve(), Path(phrases).resolve() if phrases else None


def _open(given: Path) -> StudyDataset:
    try:
        return StudyDataset.open(given)
    except DataError as error:
        raise UsageError(f"--data: {error}") from error
