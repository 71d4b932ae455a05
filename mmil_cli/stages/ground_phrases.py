"""Ground, evaluated: how well similarity maps agree with a table of phrases and boxes, beside controls."""

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmil_cli.build import load_checkpoint
from mmil_cli.core.bags import RegionBag
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.fit import FittedFilm
from mmil_cli.data.maps import grid_to_film, smooth_grid
from mmil_cli.data.phrases import read_phrases
from mmil_cli.files import write_json, write_text
from mmil_cli.inference import FILMS_AT_ONCE, Embedder
from mmil_cli.metrics.grounding import METRICS, GroundingScores, score_map
from mmil_cli.metrics.grounding_table import (
    GroundingRow,
    GroundingTable,
    grounding_table,
    paired_interval,
    score_matrix,
)
from mmil_cli.metrics.intervals import Interval
from mmil_cli.metrics.regions import boxes_mask, resample
from mmil_cli.runtime import versions
from mmil_cli.stages.ground import check_smooth, provenance
from mmil_cli.stages.phrase_samples import Sample, Selection, centre_prior, priors, select

MODEL, SHUFFLED, PRIOR, CENTRE, CHANCE = "model", "shuffled", "prior", "centre", "chance"
CONTROLS = (SHUFFLED, PRIOR, CENTRE, CHANCE)
UNDEFINED = GroundingScores(*[math.nan] * len(METRICS))


@dataclass(frozen=True, kw_only=True)
class PhraseResult:
    """What the evaluation came to.

    Attributes:
        tables: by system: the model and the four controls.
        differences: by control and metric: model less control on the same samples, patients resampled.
        num_phrases, num_films, num_patients: that were evaluated.
        num_unknown: phrases left out because the dataset does not have their film.
        num_other_splits: phrases left out because their film is in another split.
        num_prior: phrases of other films that the location prior was made from.
        record: the figures as JSON.
        samples: the figures of each phrase as CSV.
    """

    tables: Mapping[str, GroundingTable]
    differences: Mapping[str, Mapping[str, Interval]]
    num_phrases: int
    num_films: int
    num_patients: int
    num_unknown: int
    num_other_splits: int
    num_prior: int
    record: Path
    samples: Path


def run(
    phrases: Path,
    data: Path,
    *,
    checkpoint: Path,
    out: Path,
    split: str | None = "test",
    smooth: float = 0.0,
    seed: int = 0,
    bootstrap: int = 1000,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> PhraseResult:
    """Evaluates similarity maps on a table of phrase boxes, and writes `ground.json` and `phrases.csv`.

    Maps and boxes are compared at the resolution of the stored films (`mmil preprocess --side`), boxes
    being brought there, rounded to its pixels: at the original size every figure costs some thirty times
    as much and differs in the third decimal. The controls see what the model saw and nothing else:

    - shuffled: the map of a phrase of another film, of a category that this film has no phrase of;
    - prior: how often boxes of the category lie at each place in films of other splits;
    - centre: a Gaussian about the film's centre;
    - chance: a constant map.

    The mIoU of prior and centre is ill-scaled and stands for nothing: its thresholds are similarities, and
    theirs are shares. Compare CNR, pointing game and pixel AUROC, which a change of scale leaves alone.

    Args:
        phrases: table in the CSV form of MS-CXR.
        data: dataset folder of the same films.
        checkpoint: checkpoint or run folder.
        out: folder for the two files.
        split: of the dataset; None for all films, and then there is no location prior.
        smooth: sigma of a Gaussian over each map, in regions; 0 for none.
        seed: of shuffled phrases and resampling.
        bootstrap: number of resamples.
        device: auto, cpu or cuda.
        on_progress: told of films done and films in all.

    Raises:
        UsageError: a column or the split is missing.
        DataError: no phrase belongs to a film of the split, or the table is wrong or contradicts the films.
    """
    check_smooth(smooth)
    dataset = StudyDataset.open(data)
    selection = select(read_phrases(phrases), dataset, split=split, seed=seed, table=phrases)
    loaded = load_checkpoint(checkpoint, device=device)
    scores = _Evaluation(loaded.embedder, dataset, selection, smooth=smooth).go(on_progress)
    result = _summarise(selection, scores, out=out, seed=seed, bootstrap=bootstrap)
    options = {"split": split, "smooth": smooth, "seed": seed, "bootstrap": bootstrap}
    origin = {"checkpoint": provenance(loaded), "dataset_hash": dataset.info.content_hash}
    write_json(result.record, {**_record(result), "options": options, **origin, "versions": versions()})
    write_text(result.samples, _samples_csv(selection.samples, scores))
    return result


class _Evaluation:
    """Scores of every sample under every system."""

    def __init__(
        self, embedder: Embedder, dataset: StudyDataset, selection: Selection, *, smooth: float
    ) -> None:
        self.embedder, self.dataset, self.smooth = embedder, dataset, smooth
        self.samples = selection.samples
        self.prior = priors(selection.elsewhere, [sample.phrase.category for sample in self.samples])
        texts = [text for s in self.samples for text in (s.phrase.text, s.shuffled) if text is not None]
        self.place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        self.sentences = embedder.sentences(list(self.place))

    def go(self, on_progress: Callable[[int, int], None] | None) -> list[dict[str, GroundingScores]]:
        """One mapping from system to scores a sample, in the order of the samples."""
        of_film: dict[int, list[int]] = {}
        for number, sample in enumerate(self.samples):
            of_film.setdefault(sample.index, []).append(number)
        films, done = list(of_film), 0
        scores: list[dict[str, GroundingScores]] = [{} for _ in self.samples]
        for start in range(0, len(films), FILMS_AT_ONCE):
            for film, fitted, regions in self._encode(films[start : start + FILMS_AT_ONCE]):
                for number in of_film[film]:
                    scores[number] = self._sample(self.samples[number], fitted, regions)
                done += 1
                if on_progress:
                    on_progress(done, len(films))
        return scores

    def _encode(self, films: Sequence[int]) -> Iterator[tuple[int, FittedFilm, RegionBag]]:
        fitted = [self.embedder.fit(self.dataset.pixels(film)) for film in films]
        regions = self.embedder.films(fitted).regions
        for place, film in enumerate(films):
            one = slice(place, place + 1)
            bag = RegionBag(features=regions.features[one], mask=regions.mask[one], grid=regions.grid)
            yield film, fitted[place], bag

    def _sample(self, sample: Sample, fitted: FittedFilm, regions: RegionBag) -> dict[str, GroundingScores]:
        row = sample.row
        inverse = row.to_source.inverse()
        mask = boxes_mask([inverse.box(box) for box in sample.phrase.boxes], row.height, row.width)
        values = self._map(sample.phrase.text, sample, fitted, regions)
        prior = self.prior.get(sample.phrase.category)
        maps = {
            MODEL: values,
            SHUFFLED: self._map(sample.shuffled, sample, fitted, regions) if sample.shuffled else None,
            PRIOR: None if prior is None else resample(prior, row.height, row.width),
            CENTRE: centre_prior(row.height, row.width),
            CHANCE: np.zeros((row.height, row.width)),
        }
        unseen = np.isnan(values)
        return {
            name: UNDEFINED if shown is None else score_map(np.where(unseen, np.nan, shown), mask)
            for name, shown in maps.items()
        }

    def _map(self, text: str, sample: Sample, fitted: FittedFilm, regions: RegionBag) -> np.ndarray:
        place = self.place[text]
        grid = self.embedder.maps(regions, self.sentences[place : place + 1])[0, 0]
        return grid_to_film(
            smooth_grid(_array(grid), sigma=self.smooth),
            size=self.embedder.contract.size,
            to_film=fitted.to_stored,
            height=sample.row.height,
            width=sample.row.width,
        )


def _array(grid: torch.Tensor) -> np.ndarray:
    return grid.float().numpy()


def _summarise(
    selection: Selection,
    scores: Sequence[Mapping[str, GroundingScores]],
    *,
    out: Path,
    seed: int,
    bootstrap: int,
) -> PhraseResult:
    samples = selection.samples
    patients = [sample.row.patient_id for sample in samples]
    categories = [sample.phrase.category for sample in samples]
    of_system = {name: [entry[name] for entry in scores] for name in (MODEL, *CONTROLS)}
    matrices = {name: score_matrix(entries) for name, entries in of_system.items()}
    return PhraseResult(
        tables={
            name: grounding_table(entries, groups=patients, names=categories, samples=bootstrap, seed=seed)
            for name, entries in of_system.items()
        },
        differences={
            control: {
                metric: paired_interval(
                    matrices[MODEL][:, column],
                    matrices[control][:, column],
                    groups=patients,
                    samples=bootstrap,
                    seed=seed,
                )
                for column, metric in enumerate(METRICS)
            }
            for control in CONTROLS
        },
        num_phrases=len(samples),
        num_films=len({sample.index for sample in samples}),
        num_patients=len(set(patients)),
        num_unknown=selection.num_unknown,
        num_other_splits=selection.num_other_splits,
        num_prior=len(selection.elsewhere),
        record=out / "ground.json",
        samples=out / "phrases.csv",
    )


def _record(result: PhraseResult) -> dict[str, Any]:
    counts = ("num_phrases", "num_films", "num_patients", "num_unknown", "num_other_splits", "num_prior")
    return {
        "systems": {name: _table_record(table) for name, table in result.tables.items()},
        "model_less_control": {
            control: {metric: asdict(value) for metric, value in metrics.items()}
            for control, metrics in result.differences.items()
        },
        **{name: getattr(result, name) for name in counts},
    }


def _table_record(table: GroundingTable) -> dict[str, Any]:
    return {
        "micro": _row_record(table.micro),
        "macro": _row_record(table.macro),
        "findings": {row.name: _row_record(row) for row in table.findings},
    }


def _row_record(row: GroundingRow) -> dict[str, Any]:
    return {
        "num_samples": row.num_samples,
        **{
            metric: {**asdict(value), "num_undefined_samples": row.num_undefined[metric]}
            for metric, value in row.metrics.items()
        },
    }


def _samples_csv(samples: Sequence[Sample], scores: Sequence[Mapping[str, GroundingScores]]) -> str:
    """One line a phrase: whose it is, and every metric of every system; blank where undefined."""
    systems = (MODEL, *CONTROLS)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["image_id", "patient_id", "category", "phrase", "num_boxes", "shuffled_phrase"]
    writer.writerow([*names, *(f"{system}_{metric}" for system in systems for metric in METRICS)])
    for sample, entry in zip(samples, scores, strict=True):
        phrase = sample.phrase
        values = [value for system in systems for value in astuple(entry[system])]
        writer.writerow(
            [
                phrase.image_id,
                sample.row.patient_id,
                phrase.category,
                phrase.text,
                len(phrase.boxes),
                sample.shuffled or "",
                *("" if math.isnan(value) else f"{value:.6g}" for value in values),
            ]
        )
    return text.getvalue()
