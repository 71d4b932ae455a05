"""Data of a study: generated chest studies, not patients."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from mmil_cli.errors import UsageError
from mmil_cli.phantom.difficulty import Difficulty
from mmil_cli.stages import phantom, preprocess
from mmil_cli.stages.demo import PHRASE_TABLE
from mmil_cli.stages.study.kinds import BOXES, LABELS, REPORTS, OnProgress, Settings
from mmil_cli.stages.study.settings import settings_of

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
    if given is not None:
        raise UsageError(f"--data: this data is generated, and {given} cannot take its place; leave it out")
    _settings(settings)


def offers(settings: Settings, *, given: Path | None) -> frozenset[str]:  # noqa: ARG001
    """Everything."""
    return frozenset((REPORTS, LABELS, BOXES))


def make(
    settings: Settings,
    folder: Path,
    *,
    given: Path | None,  # noqa: ARG001
    on_progress: OnProgress,
) -> tuple[Path, Path | None]:
    """Draws films and writes reports, then makes the dataset; what is there already stays."""
    wanted = _settings(settings)
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


def _settings(settings: Settings) -> Generated:
    return settings_of(Generated, settings, what="generated studies")
