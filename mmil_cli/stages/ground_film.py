"""Phrases looked for in one film that is encoded once: scores, maps, peaks and boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from mmil_cli.core.bags import RegionBag, Sentences, one_sentence_reports
from mmil_cli.data.geometry import Affine
from mmil_cli.data.maps import Map, grid_to_film, smooth_grid
from mmil_cli.inference import Embedder
from mmil_cli.stages.film import OpenedFilm
from mmil_cli.stages.ground_terms import TermRegions, term_regions
from mmil_cli.stages.similarity import (
    DEFAULT_THRESHOLD,
    FoundBox,
    Peak,
    find_boxes,
    find_peak,
)

LEAST_OF_REGION = 0.25
"""Boxes around less than this share of a region are left out: the map between regions is interpolated, and
the tip of a bump that only just reaches the level says nothing of where it ends."""

LONGEST_SEARCHED = 384
"""Pixels of the long side at which peak and boxes are looked for: twenty times finer than regions are. Larger
films would only make a phrase slower."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MapPlace:
    """Where a grid of regions lies in a film.

    Attributes:
        size: side of the model's square in pixels.
        to_film: from its pixel coordinates to those of the film.
        height, width: of the film.
        centre: where in its cell a region looks.
    """

    size: int
    to_film: Affine
    height: int
    width: int
    centre: float

    def values(self, grid: Map) -> Map:
        """The grid at every pixel of the film, float32 [H, W]."""
        return grid_to_film(
            grid,
            size=self.size,
            to_film=self.to_film,
            height=self.height,
            width=self.width,
            centre=self.centre,
        )

    def at_most(self, longest: int) -> "MapPlace":
        """The same film shrunk to a long side of so many pixels, if it is larger."""
        shrink = min(1.0, longest / max(self.height, self.width))
        height, width = max(1, round(self.height * shrink)), max(1, round(self.width * shrink))
        smaller = Affine(scale_x=width / self.width, scale_y=height / self.height)
        return MapPlace(
            size=self.size,
            to_film=self.to_film.then(smaller),
            height=height,
            width=width,
            centre=self.centre,
        )

    def point(self, row: int, column: int, grid: tuple[int, int]) -> tuple[float, float]:
        """Where a region looks, (x, y) in pixels of the film."""
        rows, columns = grid
        return self.to_film.point(
            (column + self.centre) * self.size / columns, (row + self.centre) * self.size / rows
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PhraseFinding:
    """What the model makes of one phrase in one film.

    Attributes:
        phrase: as given.
        score: the model's score of the film with the phrase as a report of one sentence: the logits by
            which films are ranked; it compares between phrases and films of one model only.
        terms: each term's part of it, before its logit scale.
        unknown_words: share of the phrase's tokens that the model's vocabulary does not know.
        is_cut: the phrase has more tokens than the model reads; its end did not count.
        grid: similarity of each region [rows, columns], smoothed if that was asked for; NaN where no film is.
        place: of the grid in the film.
        peak: the highest point; None where the model saw nothing.
        boxes: around what stands out of the map, in pixels of the film, the highest first.
        regions: which regions made the score.
    """

    phrase: str
    score: float
    terms: dict[str, float]
    unknown_words: float
    is_cut: bool
    grid: Map
    place: MapPlace
    peak: Peak | None
    boxes: tuple[FoundBox, ...]
    regions: TermRegions

    @cached_property
    def values(self) -> Map:
        """Similarity at each pixel of the film, float32 [H, W]; NaN where the model did not look."""
        return self.place.values(self.grid)


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedFilm:
    """A film and what the image tower made of it, to ask any number of phrases."""

    film: OpenedFilm
    regions: RegionBag

    def place(self, size: int) -> MapPlace:
        """Of the model's grid in the film, of a model that looks at squares of `size` pixels."""
        height, width = self.film.pixels.shape
        return MapPlace(
            size=size,
            to_film=self.film.to_source,
            height=height,
            width=width,
            centre=self.regions.cell_centre,
        )


def encode_film(embedder: Embedder, film: OpenedFilm) -> EncodedFilm:
    """One pass of the image tower."""
    return EncodedFilm(film=film, regions=embedder.films([film.fitted]).regions)


def ground_film(
    embedder: Embedder,
    film: OpenedFilm,
    phrases: Sequence[str],
    *,
    threshold: float = DEFAULT_THRESHOLD,
    smooth: float = 0.0,
) -> tuple[tuple[PhraseFinding, ...], tuple[int, int]]:
    """Each phrase in one film, and the model's grid; the film is encoded once, and so is each phrase."""
    encoded = encode_film(embedder, film)
    findings = ground_encoded(embedder, encoded, phrases, threshold=threshold, smooth=smooth)
    return findings, encoded.regions.grid


def ground_encoded(
    embedder: Embedder,
    encoded: EncodedFilm,
    phrases: Sequence[str],
    *,
    threshold: float = DEFAULT_THRESHOLD,
    smooth: float = 0.0,
) -> tuple[PhraseFinding, ...]:
    """Each phrase in a film that is encoded already."""
    return ground_sentences(
        embedder, encoded, phrases, embedder.sentences(phrases), threshold=threshold, smooth=smooth
    )


def ground_sentences(
    embedder: Embedder,
    encoded: EncodedFilm,
    phrases: Sequence[str],
    sentences: Sentences,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    smooth: float = 0.0,
) -> tuple[PhraseFinding, ...]:
    """Each phrase in a film, both encoded already; `mmil bench evaluate` times this."""
    scores, terms = _scores(embedder, encoded.regions, sentences)
    grids = embedder.maps(encoded.regions, sentences)[0].numpy()  # [U, rows, columns]
    regions = term_regions(embedder, encoded.regions, sentences)
    place = encoded.place(embedder.contract.size)
    findings = []
    for index, phrase in enumerate(phrases):
        grid = smooth_grid(grids[index], sigma=smooth)
        peak, boxes = _search(grid, place, threshold=threshold)
        findings.append(
            PhraseFinding(
                phrase=phrase,
                score=scores[index],
                terms={name: values[index] for name, values in terms.items()},
                unknown_words=embedder.tokenizer.unknown_share([phrase]),
                is_cut=embedder.tokenizer.is_cut(phrase),
                grid=grid,
                place=place,
                peak=peak,
                boxes=boxes,
                regions=regions[index],
            )
        )
    return tuple(findings)


def _search(grid: Map, place: MapPlace, *, threshold: float) -> tuple[Peak | None, tuple[FoundBox, ...]]:
    """Peak and boxes, looked for in a map no larger than it needs to be, in pixels of the film."""
    near = place.at_most(LONGEST_SEARCHED)
    back = Affine(scale_x=place.width / near.width, scale_y=place.height / near.height)
    values = near.values(grid)
    rows, columns = grid.shape
    cell = (near.size / rows) * near.to_film.scale_y * (near.size / columns) * near.to_film.scale_x
    peak = find_peak(values)
    boxes = find_boxes(values, threshold=threshold, smallest=LEAST_OF_REGION * cell)
    if peak is not None:
        x, y = back.point(peak.x, peak.y)
        peak = Peak(x=x, y=y, value=peak.value)
    return peak, tuple(FoundBox(box=back.box(found.box), value=found.value) for found in boxes)


@torch.inference_mode()
def _scores(
    embedder: Embedder, regions: RegionBag, sentences: Sentences
) -> tuple[list[float], dict[str, list[float]]]:
    """The logits of one film with each sentence as a report of its own, and the terms' raw scores."""
    bag = one_sentence_reports(sentences).to(embedder.device)
    logits, found = embedder.model.score.logits_and_terms(regions.to(embedder.device), bag)
    return logits[0].tolist(), {name: term.scores[0].tolist() for name, term in found.items()}
