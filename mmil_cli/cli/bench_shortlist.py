"""`mmil bench shortlist`."""

from pathlib import Path
from typing import Annotated

import typer

from mmil_cli.cli.tables import show_table


def shortlist(
    index: Annotated[Path, typer.Option("--index", help="Index made by `mmil retrieve index`.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for bench_shortlist.json.")] = Path(
        "results/bench"
    ),
    split: Annotated[str, typer.Option("--split", help="Whose sentences and reports are asked.")] = "test",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """How long a shortlist must be for two stages to find the first film of an exhaustive search.

    The queries are the distinct sentences and the reports of a split, the gallery is every film of the index.

    Example: `mmil bench shortlist --index indexes/mine`
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.bench_retrieve import run_shortlist
    from mmil_cli.viz.tables import percent

    with CountProgress("bench shortlist", "queries") as progress:
        result = run_shortlist(index, out, split=split, device=device, on_progress=progress.update)
    rows = [
        (
            row.queries,
            row.first_stage,
            percent(row.share),
            str(row.num_queries),
            percent(row.agreement, digits=1),
            "yes" if row.holds else "no",
        )
        for row in result.rows
    ]
    columns = ("queries", "first stage", "films on the list", "queries", "same first film", "99 %")
    show_table(f"Two stages among {result.num_films} films", columns, rows, left=(0, 1))
    typer.echo(f"written: {result.record}")
