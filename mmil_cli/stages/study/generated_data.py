"""Data of a study: generated chest studies, not patients."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from mmil_cli.phantom.difficulty import Difficulty
from mmil_cli.stages import phantom, preprocess
from mmil_cli.stages.demo import PHRASE_TABLE
from mmil_cli.stages.study.kinds import EVERYTHING, OnProgress, Settings
from mmil_cli.stages.study.settings import made_settings

LEAST_STUDIES = 50
"""Fewer leave splits without films or findings."""


class Generated(BaseModel):
    """What there is to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    studies: int = Field(1000, ge=LEAST_STUDIES, le=phantom.MOST_STUDIES)
    seed: int = Field(0, ge=0)
    difficulty: Difficulty = Difficulty.EASY
    film_side: int = Field(512, ge=phantom.SMALLEST_SIDE, le=phantom.LARGEST_SIDE)
    side: int = Field(192, ge=32)


def check(settings: Settings, *, given: Path | None) -> None:
    """Refuses unknown or unfit settings, and a folder: these studies are made, not given."""
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
    """Draws films and writes reports, then makes the dataset; what is there already stays."""
    wanted = _settings(settings, given=given)
    source, dataset = folder / "studies", folder / "dataset"
    phantom.run(
        source,
        studies=wanted.studies,
        seed=wanted.seed,
        difficulty=wanted.difficulty,
        side=wanted.film_side,
        on_progress=on_progress,
    )
    preprocess.run(source, dataset, side=wanted.side)
    return dataset, source / PHRASE_TABLE


def _settings(settings: Settings, *, given: Path | None) -> Generated:
    return made_settings(Generated, settings, given=given, what="generated studies")
