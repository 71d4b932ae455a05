"""`mmil bench scores`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.tables import show_table

if TYPE_CHECKING:
    from mmil_cli.stages.bench_scores import BenchRow

COLUMNS = (
    "comparison", "shape", "ms", "time / plain [range]", "wanted", "MiB", "memory / plain", "wanted", "holds",
)  # fmt: skip


def scores(
    out: Annotated[Path, typer.Option("--out", help="Folder for bench_scores.json.")] = Path("results/bench"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Small shapes, to see that it works; the ratios say nothing.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Time the scores beside plain ways to compute them, forward and backward, and their memory.

    Each ratio is the median over rounds in which both run in turns; memory is what a run holds at its peak
    beyond what was held before. About a minute on two cores.

    Example: `mmil bench scores --out results/bench`
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.bench_scores import run

    with CountProgress("bench scores", "comparisons") as progress:
        result = run(out, quick=quick, device=device, on_progress=progress.update)
    show_table(
        f"Scores beside plain forms on {result.provenance['processor']}, "
        f"{result.provenance['threads']} threads: ratios, less is better",
        COLUMNS,
        [_score_cells(row) for row in result.rows],
        left=(0, 1),
    )
    typer.echo(f"written: {result.record}")


def _score_cells(row: "BenchRow") -> tuple[str, ...]:
    from mmil_cli.viz.tables import UNDEFINED, number, with_interval

    measured = row.measured
    memory = measured.memory_ratio
    return (
        row.name,
        row.shape,
        number(1000 * measured.seconds, digits=0),
        with_interval(measured.time_ratio, measured.time_low, measured.time_high),
        number(row.most_time),
        UNDEFINED if measured.extra_bytes is None else number(measured.extra_bytes / 2**20, digits=0),
        UNDEFINED if memory is None else number(memory),
        UNDEFINED if row.most_memory is None else number(row.most_memory),
        "yes" if row.holds else "no",
    )
