"""`mmil probe`."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.tables import show_table
from mmil_cli.errors import UsageError, listing, nearest

if TYPE_CHECKING:
    from mmil_cli.stages.probe import MethodResult, ProbeResult

METHODS = ("linear", "zero-shot")


class UncertainChoice(StrEnum):
    """The values of --uncertain."""

    IGNORE = "ignore"
    POSITIVE = "positive"
    NEGATIVE = "negative"


class MissingChoice(StrEnum):
    """The values of --missing."""

    IGNORE = "ignore"
    NEGATIVE = "negative"


def probe(
    data: Annotated[Path, typer.Argument(help="Dataset folder made by `mmil preprocess`, with labels.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint or run folder. [default: $MMIL_CHECKPOINT, else the newest in ./runs]"),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split to score; never the one the probe is fitted on.")
    ] = "test",
    method: Annotated[
        str, typer.Option(help="linear (fitted on the train split), zero-shot (from prompts), or both.")
    ] = "linear,zero-shot",
    findings: Annotated[
        str | None, typer.Option(help="Findings to score, A,B,C. [default: all the dataset has labels for]")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(help="Prompts for zero-shot: a YAML file or a shipped name. [default: chexpert]"),
    ] = None,
    uncertain: Annotated[
        UncertainChoice, typer.Option(help="What the label -1 counts as; ignore leaves those films out.")
    ] = UncertainChoice.IGNORE,
    missing: Annotated[
        MissingChoice,
        typer.Option(help="What a blank label counts as; negative is the custom with CheXpert's labels."),
    ] = MissingChoice.IGNORE,
    out: Annotated[Path, typer.Option(help="Folder for probe.json.")] = Path("results/probe"),
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of the bootstrap and of the probe's folds.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Tell how well findings can be read off a frozen model: AUROC and AUPRC with 95 % intervals.

    `linear` is a logistic regression on the image features, fitted on the train split, its regularisation
    chosen on the validate split; `zero-shot` compares sentences that affirm a finding with sentences that
    deny it. Films without a label of a finding are left out of that finding. Intervals resample patients.

    Example: `mmil probe datasets/mine --findings "Pleural Effusion,Edema" --uncertain negative`
    """
    methods = _methods(method)
    if prompts is not None and "zero-shot" not in methods:
        raise UsageError("--prompts is for zero-shot, which --method leaves out")

    from mmil_cli.checkpoint import find_checkpoint
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.findings import Missing, Uncertain
    from mmil_cli.stages.probe import DEFAULT_PROMPTS, Method, run

    found, how = find_checkpoint(checkpoint)
    typer.echo(f"checkpoint: {found} ({how})", err=True)
    with CountProgress("probe", "films") as progress:
        result = run(
            data,
            checkpoint=found,
            out=out,
            split=split,
            methods=[Method(name) for name in methods],
            findings=None if findings is None else _names(findings, option="--findings"),
            prompts=prompts or DEFAULT_PROMPTS,
            uncertain=Uncertain(uncertain.value),
            missing=Missing(missing.value),
            seed=seed,
            device=device,
            on_progress=progress.update,
        )
    _show(result)


def _names(text: str, *, option: str) -> list[str]:
    """`A,B,C` as a list."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"{option} is {text!r}, which names nothing; give names such as A,B,C")
    return names


def _methods(text: str) -> list[str]:
    names = list(dict.fromkeys(_names(text, option="--method")))
    for name in names:
        if name not in METHODS:
            raise UsageError(
                f"--method: no method {name!r}{nearest(name, METHODS)}; known: {', '.join(METHODS)}"
            )
    return names


def _by_reason(skipped: Mapping[str, str]) -> dict[str, list[str]]:
    """Findings by why they were left out."""
    reasons: dict[str, list[str]] = {}
    for name, why in skipped.items():
        reasons.setdefault(why, []).append(name)
    return reasons


def _show(result: "ProbeResult") -> None:
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    for part in result.methods:
        _show_method(part, result)
    typer.echo(f"written: {result.record}")


def _show_method(part: "MethodResult", result: "ProbeResult") -> None:
    from mmil_cli.viz.tables import number, with_interval

    rows = [
        (
            row.name,
            f"{row.num_positive}/{row.num_negative}",
            with_interval(row.auroc.value, row.auroc.low, row.auroc.high),
            with_interval(row.auprc.value, row.auprc.low, row.auprc.high),
            number(row.prevalence),
        )
        for row in part.table.rows
    ]
    mean = part.table.mean
    average = (
        f"mean of {mean.num_findings}",
        "",
        with_interval(mean.auroc.value, mean.auroc.low, mean.auroc.high),
        with_interval(mean.auprc.value, mean.auprc.low, mean.auprc.high),
        number(mean.prevalence),
    )
    show_table(
        f"{part.method} on {result.num_films} films of {result.num_patients} patients "
        f"({result.provenance['split']}); chance is AUROC 0.50",
        ("finding", "pos/neg", "AUROC", "AUPRC", "chance AUPRC"),
        [*rows, average],
    )
    for why, names in _by_reason(part.skipped).items():
        typer.echo(f"not scored by {part.method}: {listing(names)}: {why}", err=True)
    for name, detail in part.details.items():
        if not detail.get("converged", True):
            typer.echo(f"note: the linear probe of {name} had not converged", err=True)
