"""`mmil bench mi`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.tables import show_table

if TYPE_CHECKING:
    from mmil_cli.stages.bench_mi import BenchResult
    from mmil_cli.stages.bench_mi_pairs import PairRow
    from mmil_cli.stages.bench_mi_studies import StudyRow

PAIR_COLUMNS = (
    "true", "objective", "estimate", "bias", "SD of a batch", "ceiling", "best critic", "its bias", "its SD",
)  # fmt: skip
TRUTH_COLUMNS = (
    "studies", "sum of local", "global", "global - sum", "= other regions", "+ TC(Y|X)", "- TC(Y)",
    "the sum is",
)  # fmt: skip
STUDY_COLUMNS = ("studies", "objective", "sum of local", "true", "global", "true", "global - sum", "true")


def mi(
    out: Annotated[Path, typer.Option("--out", help="Folder for bench_mi.json.")] = Path("results/bench"),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A run of seconds that shows that it works; its critics learn little."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 0,
) -> None:
    """Hold every estimator of mutual information against sources whose information is known.

    Correlated Gaussians of 0.5 to 6 nats: bias and standard deviation of each, with a trained critic and
    with the best one there is. Then the sum of local information beside the global one, on generated studies
    where it is a lower bound and where it is not. All in nats, on the CPU, in about five minutes.

    Example: `mmil bench mi --out results/bench`

    Example: `mmil bench mi --quick`
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.bench_mi import run

    with CountProgress("bench mi", "critics") as progress:
        result = run(out, quick=quick, seed=seed, on_progress=progress.update)
    _show_mi(result)


def _show_mi(result: "BenchResult") -> None:
    for batch in dict.fromkeys(row.batch for row in result.pairs):
        show_table(
            f"Correlated Gaussians, batches of {batch}: mutual information in nats (95 % over "
            f"{result.size.num_seeds} seeds)",
            PAIR_COLUMNS,
            [_pair_cells(row) for row in result.pairs if row.batch == batch],
            left=(1,),
        )
    truths = {row.source: _truth_cells(row) for row in result.studies}
    show_table("Sum of local and global information in closed form, nats",
               TRUTH_COLUMNS, list(truths.values()), left=(0, 7))  # fmt: skip
    show_table(
        f"The same, estimated (95 % over {result.size.num_seeds} seeds)",
        STUDY_COLUMNS,
        [_study_cells(row) for row in result.studies],
        left=(0, 1),
    )
    typer.echo(f"written: {result.record}")


def _pair_cells(row: "PairRow") -> tuple[str, ...]:
    from mmil_cli.viz.tables import UNDEFINED, number, with_interval

    return (
        number(row.truth, digits=1),
        row.objective,
        with_interval(row.estimate.value, row.estimate.low, row.estimate.high),
        number(row.bias),
        number(row.deviation),
        UNDEFINED if row.ceiling is None else number(row.ceiling),
        number(row.best),
        number(row.best - row.truth),
        number(row.best_deviation),
    )


def _truth_cells(row: "StudyRow") -> tuple[str, ...]:
    from mmil_cli.viz.tables import number

    truth = row.truth
    parts = (truth.sum_of_local, truth.global_information, truth.gap)
    terms = (truth.other_regions, truth.repetition_given_image, truth.repetition)
    return (row.source, *map(number, (*parts, *terms)), truth.verdict)


def _study_cells(row: "StudyRow") -> tuple[str, ...]:
    from mmil_cli.viz.tables import number, with_interval

    measured = (row.sum_of_local, row.global_information, row.gap)
    known = (row.truth.sum_of_local, row.truth.global_information, row.truth.gap)
    cells = [
        cell
        for interval, truth in zip(measured, known, strict=True)
        for cell in (with_interval(interval.value, interval.low, interval.high), number(truth))
    ]
    return (row.source, row.objective, *cells)
