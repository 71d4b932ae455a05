"""`mmil report`: one page on one or several runs."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders; several stand side by side.")
    ],
    results: Annotated[
        list[Path] | None,
        typer.Option(
            "--results",
            help="Folder of what probe, retrieve and ground wrote; repeatable. The runs' own folders are "
            "searched too. [default: results, where there is one]",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Dataset folder whose films are shown with phrases; without it, none are."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The page.", dir_okay=False)] = Path("report.html"),
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Put what was measured of a run into one HTML page that needs nothing else.

    Training curves, tables with intervals, ROC, precision and reliability plots, films with phrases and
    sliders, the recipe, the data's hash, and every command to make it again. A result is shown with the run
    whose checkpoint it names; what is missing is said.

    Example: `mmil report runs/first --results results --data dataset --out report.html`

    Example: `mmil report runs/first runs/second --results results`
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.report import run

    usual = [Path("results")] if Path("results").is_dir() else []
    with CountProgress("report", "films") as progress:
        result = run(
            runs,
            out,
            results=usual if results is None else results,
            data=data,
            device=device,
            on_progress=progress.update,
        )
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"page: {result.page}")
