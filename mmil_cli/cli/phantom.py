"""`mmil phantom`: generate chest studies with known truth."""

from pathlib import Path
from typing import Annotated

import typer

from mmil_cli.cli.progress import CountProgress
from mmil_cli.phantom.difficulty import Difficulty


def phantom(
    out: Annotated[
        Path, typer.Option("--out", help="Folder to write; made whole or not at all.", file_okay=False)
    ],
    studies: Annotated[
        int, typer.Option("--studies", help="Number of studies (about 1.4 films each).")
    ] = 200,
    seed: Annotated[int, typer.Option("--seed", help="The same seed and options give the same bytes.")] = 0,
    difficulty: Annotated[
        Difficulty,
        typer.Option("--difficulty", help="Sets contrast, noise, sizes, distractors and wording together."),
    ] = Difficulty.EASY,
    side: Annotated[int, typer.Option("--side", help="Longer side of a film, pixels.")] = 512,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes; one a processor when not given.")
    ] = None,
) -> None:
    """Generate chest studies: films as DICOM, reports, MIMIC-CXR tables, MS-CXR phrase boxes, and the truth.

    Nothing in them is a patient and no number from them is clinical.

    Example: mmil phantom --out studies --studies 200 --seed 1
    """
    from mmil_cli.stages.phantom import run

    with CountProgress("generate", "studies") as progress:
        result = run(
            out,
            studies=studies,
            seed=seed,
            difficulty=difficulty,
            side=side,
            workers=workers,
            on_progress=progress.update,
        )
    counts = ", ".join(f"{name} {number}" for name, number in sorted(result.splits.items()))
    state = "wrote" if result.written else "already there, nothing to do:"
    typer.echo(
        f"{state} {result.studies} generated studies of {result.patients} patients, {result.films} films"
    )
    typer.echo(f"studies by split: {counts}")
    typer.echo("findings: " + (", ".join(f"{name} {n}" for name, n in result.findings.items()) or "none"))
    typer.echo(f"folder: {result.folder}")
