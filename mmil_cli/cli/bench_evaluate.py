"""`mmil bench evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.tables import show_table

if TYPE_CHECKING:
    from mmil_cli.stages.bench_evaluate import Measurement

COLUMNS = ("evaluation", "size", "seconds", "wanted", "holds", "found")


def evaluate(
    out: Annotated[Path, typer.Option("--out", help="Folder for bench_evaluate.json.")] = Path(
        "results/bench"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="Small inputs, to see that it works; the times say nothing.")
    ] = False,
) -> None:
    """Time the evaluations on generated features of the size that archives have, on the CPU.

    Example: `mmil bench evaluate --out results/bench`
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.bench_evaluate import run

    with CountProgress("bench evaluate", "measurements") as progress:
        result = run(out, quick=quick, on_progress=progress.update)
    show_table(
        f"Evaluation on {result.provenance['processor']}, {result.provenance['threads']} threads",
        COLUMNS,
        [_evaluate_cells(row) for row in result.rows],
        left=(0, 1, 5),
    )
    typer.echo(f"written: {result.record}")


def _evaluate_cells(row: "Measurement") -> tuple[str, ...]:
    from mmil_cli.viz.tables import UNDEFINED, number

    most = row.most_seconds
    wanted = UNDEFINED if most is None else number(most, digits=3)
    return (
        row.name,
        row.size,
        number(row.seconds, digits=3),
        wanted,
        "yes" if row.holds else "no",
        row.found,
    )
