"""`mmil pretrain`."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.errors import AlreadyTold, MmilError, UsageError
from mmil_cli.runtime import place_in_job

if TYPE_CHECKING:
    from mmil_cli.stages.pretrain import PretrainResult


def pretrain(
    data: Annotated[Path, typer.Argument(help="Dataset folder made by `mmil preprocess`.")],
    score: Annotated[
        str | None,
        typer.Option(
            help="Score between images and reports, such as `lse(gamma=10)+nl(gamma=5)`, or a preset such "
            "as `gloria`; `mmil scores` lists all."
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="YAML recipe, or the name of a shipped one; the defaults otherwise.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. [default: runs/RECIPE-SCORE]")] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override of a recipe key, `section.key=value`; repeatable."),
    ] = None,
    log_to: Annotated[
        list[str] | None,
        typer.Option(
            "--log-to", help="tensorboard or wandb: where the numbers of the log go too; repeatable."
        ),
    ] = None,
    auto_batch: Annotated[
        bool,
        typer.Option("--auto-batch", help="Find the largest batch that fits the memory, and keep it."),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another run in the same folder.")
    ] = False,
) -> None:
    """Train both encoders so that films and reports of one study score high.

    The same command goes on where an interrupted run stopped; Ctrl-C saves the step at hand. Every knob is a
    key of the recipe; the resolved recipe is written into the checkpoint.

    Example: `mmil pretrain datasets/mine --score lse+nl --recipe laptop --set optim.epochs=20`

    On several GPUs or machines: `torchrun --nproc-per-node 4 -m mmil_cli pretrain datasets/mine`;
    data.batch_size is then the films of all processes together.
    """
    from mmil_cli.config.load import load_recipe

    place = place_in_job()
    with _silent_on(*[UsageError] * (place.local_rank > 0)):  # the first of each machine tells it
        _refuse_two_scores(score, override or [])
        logs = [f"run.log_to=[{','.join(log_to)}]"] if log_to else []
        resolved = load_recipe(recipe, score=score, overrides=[*(override or []), *logs])
        if auto_batch:
            _refuse_two_batches(override or [], processes=place.size)
    name = Path(recipe).stem if recipe else "default"
    folder = out or Path("runs") / f"{name}-{(score or resolved.score.expression).replace(' ', '')}"

    if auto_batch:
        from mmil_cli.stages.auto_batch import with_largest_batch

        resolved, found = with_largest_batch(
            data, folder, recipe=resolved, device=device, overwrite=overwrite
        )
        typer.echo(found.how, err=True)

    from mmil_cli.cli.progress import TrainingProgress
    from mmil_cli.stages.pretrain import run

    call = functools.partial(run, data, folder, recipe=resolved, device=device, overwrite=overwrite)
    with _silent_on(AlreadyTold):
        if place.rank > 0:
            call()  # the first process of a job speaks for all
            return
        with TrainingProgress() as progress:
            result = call(watchers=progress.watchers())
    _show(result)


@contextmanager
def _silent_on(*errors: type[MmilError]) -> Iterator[None]:
    """Ends this process without a word on an error that another process of its job tells."""
    try:
        yield
    except errors as error:
        raise typer.Exit(error.exit_code) from error


def _refuse_two_scores(score: str | None, overrides: Sequence[str]) -> None:
    given = any(text.partition("=")[0].strip() == "score.expression" for text in overrides)
    if score is not None and given:
        raise UsageError("--score and --set score.expression say the same thing twice; give one of them")


def _refuse_two_batches(overrides: Sequence[str], *, processes: int) -> None:
    if any(text.partition("=")[0].strip() == "data.batch_size" for text in overrides):
        raise UsageError("--auto-batch finds data.batch_size, which --set gives; give one of them")
    if processes > 1:
        raise UsageError(
            "--auto-batch looks for the batch of one process; find it without torchrun, and give as many "
            "times that with --set data.batch_size"
        )


def _show(result: "PretrainResult") -> None:
    if result.resumed_at == result.num_steps:
        typer.echo(f"already complete: {result.num_steps} steps")
    for name, value in result.metrics.items():
        typer.echo(f"{name:20} {value:.4f}")
    typer.echo(f"checkpoint: {result.checkpoint}")
