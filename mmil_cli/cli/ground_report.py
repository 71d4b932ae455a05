"""The part of `mmil ground` that looks for a whole report, and what both parts print."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mmil_cli.cli.tables import show_table
from mmil_cli.errors import UsageError, shortened

if TYPE_CHECKING:
    from mmil_cli.stages.ground import PhraseFinding
    from mmil_cli.stages.ground_report import ReportResult


def find(checkpoint: Path | None) -> Path:
    """The checkpoint to use; says which, and how it was found."""
    from mmil_cli.checkpoint import find_checkpoint

    folder, how = find_checkpoint(checkpoint)
    typer.echo(f"checkpoint: {folder} ({how})", err=True)
    return folder


def ground_report(
    image: Path | None,
    report: Path | None,
    image_id: str | None,
    data: Path | None,
    *,
    checkpoint: Path | None,
    out: Path,
    smooth: float,
    seed: int | None,
    device: str,
) -> None:
    """Finds every sentence of a report in a film, and prints what was found."""
    if (image is None) == (image_id is None):
        raise UsageError("a report is looked for in one film: give IMAGE, or --id IMAGE_ID with --data")
    if image_id is not None and data is None:
        raise UsageError("--id needs --data, the dataset folder that has the film")
    if smooth:
        raise UsageError("--smooth does not go with a whole report")
    if seed is not None and data is None:
        raise UsageError("--seed draws the films that a report is held against; it needs --data with it")

    from mmil_cli.stages.ground_report import run

    result = run(
        image,
        checkpoint=find(checkpoint),
        out=out,
        report=report,
        data=data,
        image_id=image_id,
        seed=seed or 0,
        device=device,
    )
    _print_report(result)


def _print_report(result: "ReportResult") -> None:
    from mmil_cli.viz.tables import percent

    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    found = {True: "nothing", False: "yes", None: "not known"}
    rows = [
        (
            shortened(sentence.finding.phrase, 70),
            found[sentence.finds_nothing],
            "–" if sentence.share_below is None else percent(sentence.share_below),
            *film_cells(sentence.finding)[1:4],
        )
        for sentence in result.sentences
    ]
    columns = ("sentence", "found", "lower in", "score", "similarity", "peak x, y")
    title = f"{result.film.path.name}, held against {result.num_others} films of other patients"
    show_table(title, columns, rows)
    typer.echo(f"picture: {result.picture}\npage: {result.page}\nnumbers: {result.record}")


def film_cells(finding: "PhraseFinding") -> tuple[str, ...]:
    """A phrase, its score, its peak's similarity and place, and its first boxes."""
    peak = finding.peak
    boxes = [", ".join(f"{value:.0f}" for value in found.box) for found in finding.boxes]
    more = f" and {len(boxes) - 2} more" if len(boxes) > 2 else ""
    return (
        shortened(finding.phrase),
        f"{finding.score:.2f}",
        f"{peak.value:.3f}" if peak else "–",
        f"{peak.x:.0f}, {peak.y:.0f}" if peak else "–",
        ("; ".join(boxes[:2]) or "none") + more,
    )
