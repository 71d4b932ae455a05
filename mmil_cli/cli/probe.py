"""`mmil probe`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.tables import show_table
from mmil_cli.errors import UsageError, listing, nearest
from mmil_cli.stages.policies import Method, Missing, Uncertain

if TYPE_CHECKING:
    from mmil_cli.stages.probe import MethodResult, ProbeResult

METHODS = tuple(Method)


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
        Uncertain, typer.Option(help="What the label -1 counts as; ignore leaves those films out.")
    ] = Uncertain.IGNORE,
    missing: Annotated[
        Missing,
        typer.Option(help="What a blank label counts as; negative is the custom with CheXpert's labels."),
    ] = Missing.IGNORE,
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
    from mmil_cli.stages.probe import DEFAULT_PROMPTS, run

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
            uncertain=uncertain,
            missing=missing,
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
    from mmil_cli.stages.shown import PROBE_COLUMNS, probe_rows

    show_table(
        f"{part.method} on {result.num_films} films of {result.num_patients} patients "
        f"({result.provenance['split']}); chance is AUROC 0.50",
        PROBE_COLUMNS,
        probe_rows(part.table),
    )
    for why, names in _by_reason(part.skipped).items():
        typer.echo(f"not scored by {part.method}: {listing(names)}: {why}", err=True)
    for name, detail in part.details.items():
        if not detail.get("converged", True):
            typer.echo(f"note: the linear probe of {name} had not converged", err=True)
