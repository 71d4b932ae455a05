"""The figures of each phrase in its film: of the model's similarity map, and of controls beside it."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from mmil_cli.core.bags import RegionBag
from mmil_cli.data.dataset import Row
from mmil_cli.data.fit import FittedFilm
from mmil_cli.data.maps import grid_to_film, smooth_grid
from mmil_cli.inference import FILMS_AT_ONCE
from mmil_cli.metrics.grounding import METRICS, GroundingScores, score_map
from mmil_cli.metrics.regions import boxes_mask, resample
from mmil_cli.stages.evaluation import Evaluation, OnProgress
from mmil_cli.stages.phrase_samples import Sample, Selection, centre_prior, finding_priors, overall_prior

MODEL, SHUFFLED, PRIOR, FINDING_PRIOR = "model", "shuffled", "prior", "finding prior"
CENTRE, CHANCE = "centre", "chance"
CONTROLS = (SHUFFLED, PRIOR, FINDING_PRIOR, CENTRE, CHANCE)
SYSTEMS = (MODEL, *CONTROLS)
UNDEFINED = GroundingScores(*[math.nan] * len(METRICS))


class PhraseScorer:
    """Scores every sample under every system, one film at a time.

    Args:
        evaluation: the model and the dataset.
        selection: what to score.
        smooth: sigma of a Gaussian over the model's maps, in regions; 0 for none.
    """

    def __init__(self, evaluation: Evaluation, selection: Selection, *, smooth: float) -> None:
        self.embedder, self.dataset, self.smooth = evaluation.embedder, evaluation.dataset, smooth
        self.samples = selection.samples
        self.prior = overall_prior(selection.elsewhere)
        self.finding_prior = finding_priors(selection.elsewhere)
        texts = [text for s in self.samples for text in (s.phrase.text, s.shuffled) if text is not None]
        self.place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        self.sentences = self.embedder.sentences(list(self.place))

    def go(self, on_progress: OnProgress | None) -> list[dict[str, GroundingScores]]:
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
            yield film, fitted[place], regions[place : place + 1]

    def _sample(self, sample: Sample, fitted: FittedFilm, regions: RegionBag) -> dict[str, GroundingScores]:
        row = sample.row
        inverse = row.to_source.inverse()
        mask = boxes_mask([inverse.box(box) for box in sample.phrase.boxes], row.height, row.width)
        values = self._map(sample.phrase.text, sample, fitted, regions)
        finding_prior = self.finding_prior.get(sample.phrase.category, self.prior)
        maps = {
            MODEL: values,
            SHUFFLED: self._map(sample.shuffled, sample, fitted, regions) if sample.shuffled else None,
            PRIOR: _shown(self.prior, row),
            FINDING_PRIOR: _shown(finding_prior, row),
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
            centre=regions.cell_centre,
        )


def _shown(prior: np.ndarray | None, row: Row) -> np.ndarray | None:
    """A prior at the size of a film."""
    return None if prior is None else resample(prior, row.height, row.width)


def _array(grid: torch.Tensor) -> np.ndarray:
    return grid.float().numpy()
