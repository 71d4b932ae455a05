"""Ground: where in one film the model finds what a phrase names."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmil_cli.build import LoadedCheckpoint, load_checkpoint
from mmil_cli.core.bags import RegionBag, Sentences, one_sentence_reports
from mmil_cli.data.maps import grid_to_film, smooth_grid
from mmil_cli.data.sentences import has_words, is_unicode
from mmil_cli.errors import UsageError, listing
from mmil_cli.files import make_folder, write_bytes, write_json
from mmil_cli.inference import Embedder
from mmil_cli.runtime import commit, versions
from mmil_cli.stages.film import OpenedFilm, open_film
from mmil_cli.stages.similarity import (
    DEFAULT_THRESHOLD,
    FoundBox,
    Peak,
    check_threshold,
    find_boxes,
    find_peak,
)

LEAST_OF_REGION = 0.25
"""Boxes around less than this share of a region are left out: the map between regions is interpolated, and
the tip of a bump that only just reaches the level says nothing of where it ends."""


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
        values: similarity at each pixel of the film, float32 [H, W]; NaN where the model did not look.
        peak: the highest pixel; None where the model saw nothing.
        boxes: around what stands out of the map, in pixels of the film, the highest first.
    """

    phrase: str
    score: float
    terms: dict[str, float]
    unknown_words: float
    is_cut: bool
    values: np.ndarray
    peak: Peak | None
    boxes: tuple[FoundBox, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundResult:
    """Phrases in a film, and what was written.

    Attributes:
        film: the film.
        findings: one a phrase, in the order given.
        grid: rows and columns of the model's regions.
        picture: the overlay, PNG.
        record: the same in numbers, JSON.
    """

    film: OpenedFilm
    findings: tuple[PhraseFinding, ...]
    grid: tuple[int, int]
    picture: Path
    record: Path


def run(
    image: Path,
    phrases: Sequence[str],
    *,
    checkpoint: Path,
    out: Path,
    threshold: float = DEFAULT_THRESHOLD,
    smooth: float = 0.0,
    device: str = "auto",
) -> GroundResult:
    """Finds phrases in the film of a file and writes `<film>.png` and `<film>.json`.

    Args:
        image: DICOM, PNG or JPEG file.
        phrases: each is scored as a report of one sentence.
        checkpoint: checkpoint or run folder.
        out: folder for the two files; older ones of a film of the same name are replaced.
        threshold: how far above the map's median, towards its peak, a box begins; see `find_boxes`.
        smooth: sigma of a Gaussian over the map, in regions; 0 for none.
        device: auto, cpu or cuda.

    Raises:
        UsageError: a phrase without words, a threshold or sigma that cannot be, or a picture that would
            take the film's place.
        RejectedRecord: the file gives no film.
        CheckpointError: the checkpoint is incomplete.
    """
    check_phrases(phrases)
    check_threshold(threshold)
    check_smooth(smooth)
    _check_place(image, out)
    loaded = load_checkpoint(checkpoint, device=device)
    film = open_film(image, loaded.embedder)
    make_folder(out)
    findings, grid = ground_film(loaded.embedder, film, phrases, threshold=threshold, smooth=smooth)
    result = GroundResult(
        film=film,
        findings=findings,
        grid=grid,
        picture=out / f"{image.stem}.png",
        record=out / f"{image.stem}.json",
    )
    write_json(result.record, _record(result, loaded, threshold=threshold, smooth=smooth))
    write_bytes(result.picture, draw(film, findings))
    return result


def ground_film(
    embedder: Embedder,
    film: OpenedFilm,
    phrases: Sequence[str],
    *,
    threshold: float = DEFAULT_THRESHOLD,
    smooth: float = 0.0,
) -> tuple[tuple[PhraseFinding, ...], tuple[int, int]]:
    """Each phrase in one film, and the model's grid; the film is encoded once, and so is each phrase."""
    regions = embedder.films([film.fitted]).regions
    sentences = embedder.sentences(phrases)
    scores, terms = _scores(embedder, regions, sentences)
    grids = embedder.maps(regions, sentences)[0].numpy()  # [U, rows, columns]
    height, width = film.pixels.shape
    smallest = LEAST_OF_REGION * _region_pixels(embedder.contract.size, film, regions.grid)
    findings = []
    for index, phrase in enumerate(phrases):
        values = grid_to_film(
            smooth_grid(grids[index], sigma=smooth),
            size=embedder.contract.size,
            to_film=film.to_source,
            height=height,
            width=width,
            centre=regions.cell_centre,
        )
        findings.append(
            PhraseFinding(
                phrase=phrase,
                score=scores[index],
                terms={name: values[index] for name, values in terms.items()},
                unknown_words=embedder.tokenizer.unknown_share([phrase]),
                is_cut=embedder.tokenizer.is_cut(phrase),
                values=values,
                peak=find_peak(values),
                boxes=find_boxes(values, threshold=threshold, smallest=smallest),
            )
        )
    return tuple(findings), regions.grid


def _region_pixels(size: int, film: OpenedFilm, grid: tuple[int, int]) -> float:
    """Pixels of the film that one region of the grid covers."""
    rows, columns = grid
    return (size / rows) * film.to_source.scale_y * (size / columns) * film.to_source.scale_x


def draw(film: OpenedFilm, findings: Sequence[PhraseFinding]) -> bytes:
    """The overlay of the findings, PNG."""
    from mmil_cli.viz.overlay import PhraseMap, overlay_figure  # matplotlib: only where a picture is drawn

    maps = [
        PhraseMap(
            phrase=finding.phrase,
            values=finding.values,
            score=finding.score,
            peak=(finding.peak.x, finding.peak.y) if finding.peak else None,
            boxes=[found.box for found in finding.boxes],
        )
        for finding in findings
    ]
    return overlay_figure(film.pixels, maps, title=film.path.name)


def check_phrases(phrases: Sequence[str]) -> None:
    """Refuse what cannot be looked for.

    Raises:
        UsageError: no phrase, or phrases without words or of bytes that are no text.
    """
    empty = [repr(phrase) for phrase in phrases if not has_words(phrase)]
    foreign = [ascii(phrase) for phrase in phrases if not is_unicode(phrase)]
    if foreign:
        raise UsageError(f"the phrase {listing(foreign)} is not UTF-8 text; set the terminal to UTF-8")
    if empty or not phrases:
        what = f"the phrase {listing(empty)} has no words" if empty else "no phrase was given"
        raise UsageError(f'{what}; say what to look for, such as "left pleural effusion"')


def check_smooth(smooth: float) -> None:
    """Refuse a Gaussian that cannot be.

    Raises:
        UsageError: sigma is negative or no number.
    """
    if not (math.isfinite(smooth) and smooth >= 0):
        raise UsageError(f"--smooth is a Gaussian's sigma in regions, 0 or above, not {smooth:g}")


def _check_place(image: Path, out: Path) -> None:
    """Refuse to write the picture over the film."""
    if (out / f"{image.stem}.png").resolve() == image.resolve():
        raise UsageError(f"--out {out} is the film's own folder, where the picture would replace it; "
                         "choose another folder")  # fmt: skip


@torch.inference_mode()
def _scores(
    embedder: Embedder, regions: RegionBag, sentences: Sentences
) -> tuple[list[float], dict[str, list[float]]]:
    """The logits of one film with each sentence as a report of its own, and the terms' raw scores."""
    bag = one_sentence_reports(sentences)
    there = regions.to(embedder.device)
    terms = embedder.model.score.sentence_scores(there, sentences.to(embedder.device))
    return embedder.logits(regions, bag)[0].tolist(), {name: raw[0].tolist() for name, raw in terms.items()}


def _record(
    result: GroundResult, loaded: LoadedCheckpoint, *, threshold: float, smooth: float
) -> dict[str, Any]:
    height, width = result.film.pixels.shape
    return {
        "film": {
            "file": result.film.path.name,
            "width": width,
            "height": height,
            "spacing_mm": result.film.spacing_mm,
            "view": result.film.view,
        },
        "phrases": [_phrase_record(finding) for finding in result.findings],
        "grid": {"rows": result.grid[0], "columns": result.grid[1]},
        "options": {"threshold": threshold, "smooth": smooth},
        "checkpoint": _origin(loaded),
        "versions": versions(),
        "commit": commit(),
    }


def _origin(loaded: LoadedCheckpoint) -> dict[str, Any]:
    """Which checkpoint a result comes from."""
    card = loaded.checkpoint.card
    return {
        "folder": "/".join(loaded.checkpoint.folder.resolve().parts[-2:]),
        "stage": card.stage,
        "step": card.step,
        "seed": card.seed,
        "score": loaded.recipe.score.expression,
        "dataset_hash": card.dataset_hash,
    }


def _phrase_record(finding: PhraseFinding) -> dict[str, Any]:
    return {
        "phrase": finding.phrase,
        "score": finding.score,
        "terms": finding.terms,
        "unknown_words": finding.unknown_words,
        "is_cut": finding.is_cut,
        "peak": asdict(finding.peak) if finding.peak else None,
        "boxes": [
            {**dict(zip(("x", "y", "w", "h"), found.box, strict=True)), "value": found.value}
            for found in finding.boxes
        ],
    }
