"""`mmil bench preprocess`: speed and memory of preprocess, made again on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.tables import show_table

if TYPE_CHECKING:
    from mmil_cli.stages.bench_preprocess import Figure

COLUMNS = ("figure", "measured [range]", "unit", "wanted", "holds")


def preprocess(
    out: Annotated[Path, typer.Option("--out", help="Folder for bench_preprocess.json.")] = Path(
        "results/bench"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="Small films, to see that it works; the figures say nothing.")
    ] = False,
) -> None:
    """Time preprocess beside the usual recipe and bare decoding, and look at its memory.

    Films of 2,500 x 3,000 pixels and 12 bits, uncompressed and as JPEG 2000; two workers beside one; 100,000
    rows beside 100; random rows read back in each encoding. On the CPU, in about six minutes.

    Example: `mmil bench preprocess --out results/bench`
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.bench_preprocess import run

    with CountProgress("bench preprocess", "figures") as progress:
        result = run(out, quick=quick, on_progress=progress.update)
    show_table(
        f"Preprocess on {result.provenance['processor']}",
        COLUMNS,
        [_figure_cells(row) for row in result.rows],
        left=(0, 2),
    )
    typer.echo(f"written: {result.record}")


def _figure_cells(row: "Figure") -> tuple[str, ...]:
    from mmil_cli.viz.tables import UNDEFINED, number, with_interval

    digits = 0 if row.value >= 100 else 2
    wanted = (
        UNDEFINED if row.wanted is None else f"{'at most' if row.is_limit else 'at least'} {row.wanted:g}"
    )
    value = with_interval(row.value, row.low, row.high, digits=digits)
    holds = {None: "", True: "yes", False: "no"}[row.holds]
    return (
        row.name,
        value if row.low < row.high else number(row.value, digits=digits),
        row.unit,
        wanted,
        holds,
    )
