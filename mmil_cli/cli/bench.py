"""`mmil bench`: figures of the parts themselves, made again on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.bench_engine import engine
from mmil_cli.cli.bench_preprocess import preprocess
from mmil_cli.cli.bench_pretrain import pretrain
from mmil_cli.cli.tables import show_table

if TYPE_CHECKING:
    from mmil_cli.stages.bench_evaluate import Measurement
    from mmil_cli.stages.bench_mi import BenchResult
    from mmil_cli.stages.bench_mi_pairs import PairRow
    from mmil_cli.stages.bench_mi_studies import StudyRow
    from mmil_cli.stages.bench_scores import BenchRow

DEFAULT_OUT = Path("results/bench")
PAIR_COLUMNS = (
    "true", "objective", "estimate", "bias", "SD of a batch", "ceiling", "best critic", "its bias", "its SD",
)  # fmt: skip
TRUTH_COLUMNS = (
    "studies", "sum of local", "global", "global - sum", "= other regions", "+ TC(Y|X)", "- TC(Y)",
    "the sum is",
)  # fmt: skip
SCORE_COLUMNS = (
    "comparison", "shape", "ms", "time / plain [range]", "wanted", "MiB", "memory / plain", "wanted", "holds",
)  # fmt: skip
EVALUATE_COLUMNS = ("evaluation", "size", "seconds", "wanted", "holds", "found")
STUDY_COLUMNS = ("studies", "objective", "sum of local", "true", "global", "true", "global - sum", "true")


def mi(
    out: Annotated[Path, typer.Option("--out", help="Folder for bench_mi.json.")] = DEFAULT_OUT,
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


def scores(
    out: Annotated[Path, typer.Option("--out", help="Folder for bench_scores.json.")] = DEFAULT_OUT,
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
        SCORE_COLUMNS,
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


def fuzz(
    out: Annotated[Path, typer.Option("--out", help="Folder for fuzz.json.")] = DEFAULT_OUT,
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


def shortlist(
    index: Annotated[Path, typer.Option("--index", help="Index made by `mmil retrieve index`.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for bench_shortlist.json.")] = DEFAULT_OUT,
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


def evaluate(
    out: Annotated[Path, typer.Option("--out", help="Folder for bench_evaluate.json.")] = DEFAULT_OUT,
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
        EVALUATE_COLUMNS,
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


BENCHES = (mi, scores, preprocess, fuzz, pretrain, engine, evaluate, shortlist)
"""The subcommands."""
