"""Data of a study: mosaics of handwritten digits with captions, not radiographs."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from mmil_cli.files import replace_folder
from mmil_cli.phantom import digits
from mmil_cli.stages import preprocess
from mmil_cli.stages.study.kinds import EVERYTHING, OnProgress, Settings
from mmil_cli.stages.study.settings import made_settings

LEAST_MOSAICS = 50
"""Fewer leave splits without some of the digits."""


class Mosaics(BaseModel):
    """What there is to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mosaics: int = Field(2000, ge=LEAST_MOSAICS, le=100_000)
    seed: int = Field(0, ge=0)


def check(settings: Settings, *, given: Path | None) -> None:
    """Refuses unknown or unfit settings, and a folder: these mosaics are made, not given."""
    _settings(settings, given=given)


def offers(settings: Settings, *, given: Path | None) -> frozenset[str]:  # noqa: ARG001
    """Everything."""
    return EVERYTHING


def make(
    settings: Settings,
    folder: Path,
    *,
    given: Path | None,
    on_progress: OnProgress,
) -> tuple[Path, Path | None]:
    """Draws mosaics and makes the dataset of them; what is there already stays."""
    wanted = _settings(settings, given=given)
    source, dataset = folder / "mosaics", folder / "dataset"
    if not (source / digits.TABLE).is_file():
        replace_folder(
            source,
            lambda aside: digits.write_mosaics(aside, number=wanted.mosaics, seed=wanted.seed),
        )
    preprocess.run(
        source / digits.TABLE,
        dataset,
        side=digits.SIDE,
        on_progress=lambda done, total, _: on_progress(done, total),
    )
    return dataset, source / digits.PHRASES


def _settings(settings: Settings, *, given: Path | None) -> Mosaics:
    return made_settings(Mosaics, settings, given=given, what="mosaics of digits")
