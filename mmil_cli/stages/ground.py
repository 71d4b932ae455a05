"""Ground: where in one film the model finds what a phrase names."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mmil_cli.build import LoadedCheckpoint, load_checkpoint
from mmil_cli.data.sentences import has_words, is_unicode
from mmil_cli.errors import UsageError, listing
from mmil_cli.files import make_folder, write_bytes, write_json
from mmil_cli.runtime import commit, versions
from mmil_cli.stages.dicom_out import plan_dicom, write_dicom
from mmil_cli.stages.film import OpenedFilm, open_film
from mmil_cli.stages.film_notes import film_notes
from mmil_cli.stages.ground_film import PhraseFinding, ground_film
from mmil_cli.stages.similarity import DEFAULT_THRESHOLD, check_threshold

__all__ = ["GroundResult", "PhraseFinding", "draw", "ground_film", "run"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundResult:
    """Phrases in a film, and what was written.

    Attributes:
        film: the film.
        findings: one a phrase, in the order given.
        grid: rows and columns of the model's regions.
        notes: how the film differs from those that the model has seen.
        picture: the overlay, PNG.
        record: the same in numbers, JSON.
        objects: DICOM objects of the film's study; none unless they were asked for.
    """

    film: OpenedFilm
    findings: tuple[PhraseFinding, ...]
    grid: tuple[int, int]
    notes: tuple[str, ...]
    picture: Path
    record: Path
    objects: tuple[Path, ...] = ()


def run(
    image: Path,
    phrases: Sequence[str],
    *,
    checkpoint: Path,
    out: Path,
    threshold: float = DEFAULT_THRESHOLD,
    smooth: float = 0.0,
    dicom: bool = False,
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
        dicom: also write DICOM objects that refer to the film (`dicom_out`).
        device: auto, cpu or cuda.

    Raises:
        UsageError: a phrase without words, a threshold or sigma that cannot be, a picture that would take
            the film's place, or DICOM objects of a film that is none.
        RejectedRecord: the file gives no film.
        CheckpointError: the checkpoint is incomplete.
    """
    check_phrases(phrases)
    check_threshold(threshold)
    check_smooth(smooth)
    _check_place(image, out)
    plan = plan_dicom(image, out) if dicom else None
    loaded = load_checkpoint(checkpoint, device=device)
    film = open_film(image, loaded.embedder)
    make_folder(out)
    findings, grid = ground_film(loaded.embedder, film, phrases, threshold=threshold, smooth=smooth)
    result = GroundResult(
        film=film,
        findings=findings,
        grid=grid,
        notes=film_notes(film, loaded.recipe),
        picture=out / f"{image.stem}.png",
        record=out / f"{image.stem}.json",
    )
    write_json(result.record, _record(result, loaded, threshold=threshold, smooth=smooth))
    picture = draw(film, findings)
    write_bytes(result.picture, picture)
    if plan is None:
        return result
    is_generated = loaded.checkpoint.card.dataset_options.get("generated") == "yes"
    written = write_dicom(plan, findings, picture, threshold=threshold, is_generated=is_generated)
    return replace(result, objects=written)


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


def _record(
    result: GroundResult, loaded: LoadedCheckpoint, *, threshold: float, smooth: float
) -> dict[str, Any]:
    return {
        "film": film_record(result.film),
        "notes": result.notes,
        "phrases": [phrase_record(finding) for finding in result.findings],
        "grid": {"rows": result.grid[0], "columns": result.grid[1]},
        "options": {"threshold": threshold, "smooth": smooth},
        "checkpoint": checkpoint_record(loaded),
        "versions": versions(),
        "commit": commit(),
    }


def film_record(film: OpenedFilm) -> dict[str, Any]:
    """What a record says of the film."""
    height, width = film.pixels.shape
    return {
        "file": film.path.name,
        "width": width,
        "height": height,
        "spacing_mm": film.spacing_mm,
        "view": film.view,
    }


def checkpoint_record(loaded: LoadedCheckpoint) -> dict[str, Any]:
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


def phrase_record(finding: PhraseFinding) -> dict[str, Any]:
    """What a record says of a phrase; everything is in pixels of the film."""
    row, column = finding.regions.critical
    x, y = finding.place.point(row, column, finding.grid.shape)
    regions = finding.regions.as_json()
    regions["critical_region"] |= {"x": x, "y": y}
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
        **regions,
    }
