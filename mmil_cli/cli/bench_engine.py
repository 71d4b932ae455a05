"""`mmil bench engine`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.tables import show_table

if TYPE_CHECKING:
    from mmil_cli.stages.bench_engine import EngineRow

COLUMNS = ("work", "on", "time / plain [range]", "wanted", "MiB", "MiB, plain")


def engine(
    out: Annotated[Path, typer.Option("--out", help="Folder for bench_engine.json.")] = Path("results/bench"),
    reports: Annotated[
        Path | None,
        typer.Option("--reports", help="Text file, a report a line; generated reports otherwise."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small batches, to see that it works; the ratios say nothing.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Time what pretraining does with a batch: sentences encoded once, and films in lots (data.chunk).

    Each ratio is the median over rounds in which both run in turns, forward and backward; memory is what a
    run holds at its peak beyond what was held before. Some minutes on two cores.

    Example: `mmil bench engine --out results/bench`
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.bench_engine import run

    with CountProgress("bench engine", "comparisons") as progress:
        result = run(out, reports=reports, quick=quick, device=device, on_progress=progress.update)
    show_table(
        f"The engine on {result.provenance['processor']}, {result.provenance['threads']} threads: "
        "ratios, less is better",
        COLUMNS,
        [_cells(row) for row in result.rows],
        left=(0, 1),
    )
    typer.echo(f"written: {result.record}")


def _cells(row: "EngineRow") -> tuple[str, ...]:
    from mmil_cli.viz.tables import UNDEFINED, number, with_interval

    held = (UNDEFINED if mib is None else number(mib, digits=0) for mib in (row.extra_mib, row.plain_mib))
    return (row.name, row.work, with_interval(row.time, row.low, row.high), number(row.wanted), *held)
