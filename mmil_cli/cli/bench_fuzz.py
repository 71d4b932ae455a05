"""`mmil bench fuzz`."""

from pathlib import Path
from typing import Annotated

import typer

from mmil_cli.cli.tables import show_table


def fuzz(
    out: Annotated[Path, typer.Option("--out", help="Folder for fuzz.json.")] = Path("results/bench"),
    cases: Annotated[int, typer.Option("--cases", help="How many damaged sources to try.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all damage.")] = 0,
) -> None:
    """Preprocess damaged films, reports, tables and XML, and hold what comes out against a strict reading.

    Cut off, with wrong bytes, lengths and encodings, as bombs, with links in circles: what is taken
    must be right, what is rejected has a reason and the name of its file. Exits with 1 where it is not so. A
    few minutes for 2,000.

    Example: `mmil bench fuzz --cases 2000 --seed 0 --out results/bench`
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.bench_fuzz import OUTCOMES, run

    with CountProgress("bench fuzz", "cases") as progress:
        result = run(out, cases=cases, seed=seed, on_progress=progress.update)
    rows = [(kind, *(str(found[name]) for name in OUTCOMES)) for kind, found in result.counts.items()]
    show_table(f"{cases} damaged sources", ("damaged", *OUTCOMES), rows, left=(0,))
    reasons = ", ".join(f"{reason} {number}" for reason, number in result.reasons.items())
    typer.echo(f"rejected for: {reasons}")
    typer.echo(f"longest: {result.longest:.1f} s; most memory: {result.most_mib:.0f} MiB")
    for trial in result.wrong:
        typer.echo(f"wrong: case {trial.number}, {trial.kind}, {trial.damage}: {'; '.join(trial.faults)}")
    typer.echo(f"written: {result.record}")
    if result.wrong:
        raise typer.Exit(1)
