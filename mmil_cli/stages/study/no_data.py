"""No data: for cells that make their own, beside others that are run on some, with tables of their own."""

from pathlib import Path

from mmil_cli.errors import UsageError
from mmil_cli.stages.study.kinds import OnProgress, Settings


def check(settings: Settings, *, given: Path | None) -> None:
    """Refuses any setting or folder."""
    if settings or given is not None:
        raise UsageError("data of kind none has no settings and takes no folder")


def offers(settings: Settings, *, given: Path | None) -> frozenset[str]:  # noqa: ARG001
    """Nothing."""
    return frozenset()


def make(
    settings: Settings,  # noqa: ARG001
    folder: Path,
    *,
    given: Path | None,  # noqa: ARG001
    on_progress: OnProgress,  # noqa: ARG001
) -> tuple[Path, Path | None]:
    """A folder that nobody looks into."""
    return folder, None
