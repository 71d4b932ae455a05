"""Cells of what a model has to beat: where boxes lie anyway, and features that nobody has learned.

Settings: `floor`, one of `location prior` (where boxes of any phrase lie in films of other splits), `centre`
(a Gaussian about the film's centre), which ground, and `hog` (a linear probe of histograms of oriented
gradients), which classifies; and `missing`, what a blank label is.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum

import numpy as np
from pydantic import BaseModel, ConfigDict

from mmil_cli.data.dataset import Row, StudyDataset
from mmil_cli.data.fit import fit_film
from mmil_cli.data.phrases import read_phrases
from mmil_cli.errors import UsageError
from mmil_cli.metrics.grounding import GroundingScores, score_map
from mmil_cli.metrics.map_calibration import fit_calibration, sample_pixels
from mmil_cli.metrics.regions import resample
from mmil_cli.stages.film_labels import own_labels
from mmil_cli.stages.findings import pick_findings
from mmil_cli.stages.phrase_samples import (
    Sample,
    Selection,
    centre_prior,
    overall_prior,
    phrase_mask,
    select,
)
from mmil_cli.stages.policies import Method, Missing, Uncertain
from mmil_cli.stages.probe_readers import LinearReader, Parts
from mmil_cli.stages.probe_task import plan_task
from mmil_cli.stages.study.evaluation_figures import GROUND_METRICS, GROUNDED, of_findings
from mmil_cli.stages.study.figures import Figure
from mmil_cli.stages.study.hog import oriented_gradients
from mmil_cli.stages.study.kinds import BOXES, LABELS, CellPlace, Metric, Settings, StudyData
from mmil_cli.stages.study.label_cells import figures
from mmil_cli.stages.study.settings import settings_of

HOG_SIDE = 64
SECONDS = 5.0
PROBE_METRIC = f"probe/{Method.LINEAR}/auroc"


class Floor(StrEnum):
    """Which."""

    PRIOR = "location prior"
    CENTRE = "centre"
    HOG = "hog"


class Floors(BaseModel):
    """What there is to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    floor: Floor
    missing: Missing = Missing.NEGATIVE


def check(settings: Settings, *, offers: frozenset[str] | None) -> None:
    """Refuses what is unknown."""
    _read(settings)
    if offers is None:
        raise UsageError("cells of kind floor need data; the study has none under `data:`")


def metrics(settings: Settings, *, offers: frozenset[str] | None) -> dict[str, Metric]:
    """Those of a checkpoint that it stands beside; none on data that lacks what they need."""
    of_hog = _read(settings).floor is Floor.HOG
    if (LABELS if of_hog else BOXES) not in (offers or ()):
        return {}
    return {PROBE_METRIC: Metric(title=f"AUROC, {Method.LINEAR}")} if of_hog else dict(GROUND_METRICS)


def needs(settings: Settings) -> tuple[str, ...]:  # noqa: ARG001
    """Nothing."""
    return ()


def work(settings: Settings, *, data: StudyData | None) -> float:  # noqa: ARG001
    """All take seconds."""
    return 1.0


def seconds(settings: Settings, place: CellPlace) -> float:  # noqa: ARG001
    """Some."""
    return SECONDS


def commands(settings: Settings, place: CellPlace) -> tuple[str, ...]:  # noqa: ARG001
    """None: `mmil ground --phrases` tells the priors beside a model."""
    return ()


def run(settings: Settings, place: CellPlace) -> Iterator[Figure]:
    """Its figures, the same for every seed but for which phrases stand beside each other."""
    wanted, data = _read(settings), place.data
    assert data is not None
    if not metrics(settings, offers=data.offers):
        return
    if wanted.floor is Floor.HOG:
        yield from _hog(data, missing=wanted.missing, seed=place.seed)
    else:
        yield from _ground(data, centre=wanted.floor is Floor.CENTRE)


def _hog(data: StudyData, *, missing: Missing, seed: int) -> Iterator[Figure]:
    dataset = StudyDataset.open(data.folder)
    told = own_labels(dataset)
    task = plan_task(
        dataset,
        told,
        names=pick_findings(told.names, None),
        classes=(),
        split=data.split,
        uncertain=Uncertain.IGNORE,
        missing=missing,
        fit=True,
    )
    parts = Parts(*(_features(dataset, rows) for rows in task.roles))
    yield from figures(PROBE_METRIC, LinearReader(parts)(task.label_set(), seed=seed), task)


def _features(dataset: StudyDataset, rows: np.ndarray) -> np.ndarray:
    films = [fit_film(dataset.pixels(row), size=HOG_SIDE, fit="pad").pixels for row in rows.tolist()]
    return np.stack([oriented_gradients(film) for film in films]).astype(np.float32)


def _ground(data: StudyData, *, centre: bool) -> Iterator[Figure]:
    assert data.phrases is not None
    dataset = StudyDataset.open(data.folder)
    selection = select(
        read_phrases(data.phrases), dataset, split=data.boxes_split, seed=0, table=data.phrases
    )
    shown = _centre if centre else _prior(selection)
    scores = _scores(selection, shown)
    findings = np.array([sample.phrase.category for sample in selection.samples])
    patients = np.array([sample.row.patient_id for sample in selection.samples])
    flat = [score_map(np.zeros((s.row.height, s.row.width)), phrase_mask(s.phrase, s.row)) for s in
            selection.samples]  # fmt: skip
    for name in GROUNDED:
        values, of_chance = (np.array([getattr(s, name) for s in found]) for found in (scores, flat))
        chance = list(of_findings(name, of_chance, findings=findings, groups=patients, chance=np.nan))[-1]
        yield from of_findings(
            f"ground/{name}", values, findings=findings, groups=patients, chance=chance.value
        )


def _scores(selection: Selection, shown: Callable[[Row], np.ndarray]) -> list[GroundingScores]:
    """Of each phrase, with maps calibrated on the validate split as those of a model are."""

    def both(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        return shown(sample.row), phrase_mask(sample.phrase, sample.row)

    calibration = fit_calibration([sample_pixels(*both(sample)) for sample in selection.calibration])
    return [score_map(*both(sample), calibration=calibration) for sample in selection.samples]


def _centre(row: Row) -> np.ndarray:
    return centre_prior(row.height, row.width)


def _prior(selection: Selection) -> Callable[[Row], np.ndarray]:
    prior = overall_prior(selection.elsewhere)
    if prior is None:
        raise UsageError("no location prior: the table has no phrase that is known to be of another split")
    return lambda row: resample(prior, row.height, row.width)


def _read(settings: Settings) -> Floors:
    return settings_of(Floors, settings, what="floors")
