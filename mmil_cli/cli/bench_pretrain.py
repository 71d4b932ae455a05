"""`mmil bench pretrain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.tables import show_table

if TYPE_CHECKING:
    from mmil_cli.stages.bench_pretrain import BenchPretrainResult
    from mmil_cli.stages.bench_scores import BenchRow
    from mmil_cli.stages.trial import Trial

DEFAULT_OUT = Path("results/bench")
TRIAL_COLUMNS = ("batch", "chunk", "workers", "precision", "films/s", "waiting", "MiB")
RATIO_COLUMNS = ("comparison", "shape", "ms", "time / plain [range]", "wanted", "holds")


def pretrain(
    data: Annotated[Path, typer.Argument(help="Dataset folder made by `mmil preprocess`.")],
    recipe: Annotated[
        str | None, typer.Option(help="YAML recipe, or the name of a shipped one; the defaults otherwise.")
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override of a recipe key, `section.key=value`; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for bench_pretrain.json.")] = DEFAULT_OUT,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few steps, to see that it works; the figures say little.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Find the batch, the workers and the precision that suit this machine and a recipe.

    Tries settings by some steps of pretraining each: films a second, time waiting for data, memory beyond
    what the process held before. Then a step beside its encoders alone, bf16 beside fp32, and texts encoded
    once beside all of them, in turns. It ends with options for `mmil pretrain`.

    Example: `mmil bench pretrain datasets/mine --recipe laptop`
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.config.load import load_recipe
    from mmil_cli.stages.bench_pretrain import run

    resolved = load_recipe(recipe, overrides=override or [])
    with CountProgress("bench pretrain", "measurements") as progress:
        result = run(data, out, recipe=resolved, quick=quick, device=device, on_progress=progress.update)
    _show_pretrain(result)


def _show_pretrain(result: "BenchPretrainResult") -> None:
    machine = f"{result.provenance['processor']}, {result.provenance['threads']} threads"
    show_table(f"Pretraining on {machine}", TRIAL_COLUMNS, [_trial_cells(trial) for trial in result.trials])
    show_table(
        "A step beside what it cannot do without: ratios, less is better",
        RATIO_COLUMNS,
        [_ratio_cells(row) for row in result.rows],
        left=(0, 1),
    )
    for reason in result.recommendation.reasons:
        typer.echo(reason)
    typer.echo("use: " + " ".join(f"--set {option}" for option in result.recommendation.options))
    typer.echo(f"written: {result.record}")


def _trial_cells(trial: "Trial") -> tuple[str, ...]:
    from mmil_cli.viz.tables import UNDEFINED, number, percent

    settings = (str(trial.batch_size), str(trial.chunk or "all"), str(trial.workers), trial.precision)
    if not trial.fits:
        return (*settings, "does not fit", UNDEFINED, UNDEFINED)
    memory = UNDEFINED if trial.memory is None else number(trial.memory / 2**20, digits=0)
    return (*settings, number(trial.films_per_second, digits=1), percent(trial.waiting), memory)


def _ratio_cells(row: "BenchRow") -> tuple[str, ...]:
    from mmil_cli.viz.tables import number, with_interval

    measured = row.measured
    return (
        row.name,
        row.shape,
        number(1000 * measured.seconds, digits=0),
        with_interval(measured.time_ratio, measured.time_low, measured.time_high),
        number(row.most_time),
        "yes" if row.holds else "no",
    )
