"""The figures of each phrase in its film: of the model's similarity map, and of controls beside it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmil_cli.build import random_twin
from mmil_cli.core.bags import RegionBag
from mmil_cli.data.dataset import Row
from mmil_cli.data.fit import FittedFilm
from mmil_cli.data.maps import grid_to_film, smooth_grid
from mmil_cli.inference import FILMS_AT_ONCE, Embedder
from mmil_cli.metrics.grounding import METRICS, GroundingScores, score_map
from mmil_cli.metrics.map_calibration import MapCalibration, fit_calibration, sample_pixels
from mmil_cli.metrics.regions import resample
from mmil_cli.stages.evaluation import Evaluation, OnProgress
from mmil_cli.stages.location_priors import LocationPriors
from mmil_cli.stages.phrase_samples import (
    Sample,
    Selection,
    centre_prior,
    phrase_mask,
)

MODEL, RANDOM, SHUFFLED = "model", "random weights", "shuffled"
PRIOR, FINDING_PRIOR, CENTRE, CHANCE = "prior", "finding prior", "centre", "chance"
CONTROLS = (RANDOM, SHUFFLED, PRIOR, FINDING_PRIOR, CENTRE, CHANCE)
SYSTEMS = (MODEL, *CONTROLS)
UNDEFINED = GroundingScores(*[math.nan] * len(METRICS))


@dataclass(frozen=True, eq=False)
class _Seen:
    """A film as both models have encoded it."""

    fitted: FittedFilm
    regions: RegionBag
    of_random: RegionBag


class _Reader:
    """A model with the phrases it was asked, each encoded once."""

    def __init__(self, embedder: Embedder, texts: Sequence[str]) -> None:
        self.embedder = embedder
        self.place = {text: number for number, text in enumerate(texts)}
        self.sentences = embedder.sentences(list(texts))

    def grid(self, text: str, regions: RegionBag) -> np.ndarray:
        """The map of a phrase on the regions of one film [rows, columns]."""
        place = self.place[text]
        return self.embedder.maps(regions, self.sentences[place : place + 1])[0, 0].float().numpy()


class PhraseScorer:
    """Scores every sample under every system, one film at a time.

    Each system's maps are calibrated by themselves, on the same phrases of the validate split, where there
    are any: the location priors have seen these phrases, which flatters them a little.

    Args:
        evaluation: the model and the dataset.
        selection: what to score.
        smooth: sigma of a Gaussian over the model's maps, in regions; 0 for none.
        seed: of the random weights.
    """

    def __init__(self, evaluation: Evaluation, selection: Selection, *, smooth: float, seed: int) -> None:
        self.embedder, self.dataset, self.smooth = evaluation.embedder, evaluation.dataset, smooth
        self.selection = selection
        self.priors = LocationPriors.of(selection.elsewhere, selection.samples)
        samples = (*selection.samples, *selection.calibration)
        texts = [text for s in samples for text in (s.phrase.text, s.shuffled) if text is not None]
        distinct = list(dict.fromkeys(texts))
        twin = random_twin(evaluation.checkpoint, self.embedder, seed=seed)
        self.model, self.random = _Reader(self.embedder, distinct), _Reader(twin, distinct)
        self.calibrations: dict[str, MapCalibration | None] = dict.fromkeys(SYSTEMS)

    def go(self, on_progress: OnProgress | None) -> list[dict[str, GroundingScores]]:
        """One mapping from system to scores a sample, in the order of the samples."""
        self._calibrate()
        scores: list[dict[str, GroundingScores]] = [{} for _ in self.selection.samples]
        for number, maps, mask in self._maps(self.selection.samples, on_progress):
            scores[number] = {
                name: UNDEFINED
                if shown is None
                else score_map(shown, mask, calibration=self.calibrations[name])
                for name, shown in maps.items()
            }
        return scores

    def _calibrate(self) -> None:
        pixels: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in SYSTEMS}
        for _, maps, mask in self._maps(self.selection.calibration, None):
            for name, shown in maps.items():
                if shown is not None:
                    pixels[name].append(sample_pixels(shown, mask))
        self.calibrations = {name: fit_calibration(samples) for name, samples in pixels.items()}

    def _maps(
        self, samples: Sequence[Sample], on_progress: OnProgress | None
    ) -> Iterator[tuple[int, dict[str, np.ndarray | None], np.ndarray]]:
        """Each sample's number, its map under each system and its mask, film by film."""
        of_film: dict[int, list[int]] = {}
        for number, sample in enumerate(samples):
            of_film.setdefault(sample.index, []).append(number)
        films, done = list(of_film), 0
        for start in range(0, len(films), FILMS_AT_ONCE):
            for film, seen in self._encode(films[start : start + FILMS_AT_ONCE]):
                for number in of_film[film]:
                    sample = samples[number]
                    yield number, self._sample(sample, seen), phrase_mask(sample.phrase, sample.row)
                done += 1
                if on_progress:
                    on_progress(done, len(films))

    def _encode(self, films: Sequence[int]) -> Iterator[tuple[int, _Seen]]:
        fitted = [self.embedder.fit(self.dataset.pixels(film)) for film in films]
        regions, of_random = (reader.embedder.films(fitted).regions for reader in (self.model, self.random))
        for place, film in enumerate(films):
            one = slice(place, place + 1)
            yield film, _Seen(fitted[place], regions[one], of_random[one])

    def _sample(self, sample: Sample, seen: _Seen) -> dict[str, np.ndarray | None]:
        """Maps at the size of the stored film, NaN where the model did not look; None where there is none."""
        row, text = sample.row, sample.phrase.text
        values = self._on_film(self.model.grid(text, seen.regions), row, seen)
        shuffled = sample.shuffled
        maps = {
            MODEL: values,
            RANDOM: self._on_film(self.random.grid(text, seen.of_random), row, seen),
            SHUFFLED: self._on_film(self.model.grid(shuffled, seen.regions), row, seen) if shuffled else None,
            PRIOR: _shown(self.priors.overall(sample), row),
            FINDING_PRIOR: _shown(self.priors.of_finding(sample), row),
            CENTRE: centre_prior(row.height, row.width),
            CHANCE: np.zeros((row.height, row.width)),
        }
        unseen = np.isnan(values)
        return {name: None if m is None else np.where(unseen, np.nan, m) for name, m in maps.items()}

    def _on_film(self, grid: np.ndarray, row: Row, seen: _Seen) -> np.ndarray:
        return grid_to_film(
            smooth_grid(grid, sigma=self.smooth),
            size=self.embedder.contract.size,
            to_film=seen.fitted.to_stored,
            height=row.height,
            width=row.width,
            centre=seen.regions.cell_centre,
        )


def _shown(prior: np.ndarray | None, row: Row) -> np.ndarray | None:
    """A prior at the size of a film."""
    return None if prior is None else resample(prior, row.height, row.width)
