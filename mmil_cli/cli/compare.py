"""`mmil compare`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.tables import show_table
from mmil_cli.errors import UsageError
from mmil_cli.stages.policies import Missing, Uncertain

if TYPE_CHECKING:
    from mmil_cli.stages.compare import CompareResult, CompareRow

COLUMNS = ("task", "of", "figure", "cases", "first", "second", "second - first", "p boot", "p DeLong")
DIGITS = 3


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Folders that probe, retrieve or ground --phrases have written, or checkpoints; the first "
            "is what the others are compared with."
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="Dataset to try checkpoints on: linear probe and retrieval.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split to try them on. [default: test]")] = None,
    uncertain: Annotated[
        Uncertain | None, typer.Option(help="What the label -1 counts as, with --data. [default: ignore]")
    ] = None,
    missing: Annotated[
        Missing | None, typer.Option(help="What a blank label counts as, with --data. [default: ignore]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for compare.json.")] = Path("results/compare"),
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the bootstrap, and of probes.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Compare models on the same cases: every figure of both, and whether they differ.

    Differences have 95 % intervals and p from a paired bootstrap that resamples patients; AUROCs have
    DeLong's p beside it. All p are of one row each, not corrected for the number of rows.

    Example: `mmil compare results/first results/second`

    Example: `mmil compare runs/first runs/second --data datasets/mine`
    """
    _check_together(data, split=split, uncertain=uncertain, missing=missing)

    from mmil_cli.cli.progress import StageProgress
    from mmil_cli.stages.compare import run
    from mmil_cli.stages.compare_checkpoints import evaluate_checkpoints

    with StageProgress() as progress:
        results, names = evaluate_checkpoints(
            folders,
            data,
            out,
            split=split or "test",
            uncertain=uncertain or Uncertain.IGNORE,
            missing=missing or Missing.IGNORE,
            seed=seed,
            device=device,
            on_model=lambda name: progress.start(name, "films"),
        )
    _show(run(results, out, names=names, seed=seed))


def _check_together(data: Path | None, **options: object) -> None:
    """Refuse what only checkpoints would read."""
    given = [name for name, value in options.items() if value is not None]
    if data is None and given:
        raise UsageError(f"--{given[0]} is for checkpoints, which need --data")


def _show(result: "CompareResult") -> None:
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    first, *others = result.models
    for model in others:
        rows = [_cells(row) for row in result.rows if row.model == model]
        show_table(f"second: {model}; first: {first}", COLUMNS, rows, left=(0, 1, 2))
    typer.echo(f"written: {result.record}")


def _cells(row: "CompareRow") -> tuple[str, ...]:
    from mmil_cli.viz.tables import UNDEFINED, number, with_interval

    found = row.found
    gap = found.gap
    return (
        f"{row.task} {row.part}",
        row.name,
        row.metric,
        str(row.num_cases),
        number(found.first, digits=DIGITS),
        number(found.second, digits=DIGITS),
        with_interval(gap.value, gap.low, gap.high, digits=DIGITS),
        *(
            UNDEFINED if math.isnan(p) else number(p, digits=DIGITS)
            for p in (found.p_bootstrap, found.p_delong)
        ),
    )
