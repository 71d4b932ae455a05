"""`mmil demo`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mmil_cli.stages.demo import DemoResult


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demo; what is done there is not redone.")] = Path(
        "demo"
    ),
    studies: Annotated[int, typer.Option(min=50, help="Studies to generate.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the studies and of the run.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Go the whole way on generated studies: phantom, preprocess, pretrain, probe, retrieve, ground.

    Takes about six minutes on two cores without a GPU. Ends with a table and one HTML page.

    Example: `mmil demo --out demo`
    """
    from mmil_cli.cli.progress import StageProgress
    from mmil_cli.stages.demo import run

    started = time.monotonic()
    with StageProgress() as progress:
        result = run(out, studies=studies, seed=seed, device=device, on_stage=progress.start)
    _show(result, seconds=time.monotonic() - started)


def _show(result: "DemoResult", *, seconds: float) -> None:
    from mmil_cli.cli.tables import show_table
    from mmil_cli.stages.demo_page import summary_cells

    show_table(
        "Held-out generated studies: every figure beside what it has to beat (95 % intervals by patient)",
        ("task", "metric", "measured", "to beat", "its value", "difference", "above"),
        [summary_cells(row) for row in result.summary],
    )
    film, phrase = result.example
    typer.echo(f"{seconds / 60:.1f} minutes. Open {result.page} in a browser, or try:")
    typer.echo(f'  mmil ground {film} "{phrase}" --checkpoint {result.run}')
