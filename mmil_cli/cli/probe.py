"""`mmil probe`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.tables import show_table
from mmil_cli.errors import UsageError, listing, nearest
from mmil_cli.stages.policies import TRAINED, Method, Missing, Uncertain

if TYPE_CHECKING:
    from mmil_cli.stages.probe import MethodResult, ProbeResult

METHODS = tuple(Method)
DEFAULT_DRAWS, DEFAULT_EPOCHS = 5, 20


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
        str,
        typer.Option(
            help="A,B,C of linear, knn, attention (over regions), zero-shot, finetune, supervised (from the "
            "weights before pretraining) and initial (linear on those weights, the control)."
        ),
    ] = "linear,zero-shot",
    label_table: Annotated[
        Path | None,
        typer.Option(
            help="Labels or grades (0 to 9) by image_id or study_id, in place of the dataset's own: .csv, "
            ".jsonl or .parquet."
        ),
    ] = None,
    findings: Annotated[
        str | None, typer.Option(help="Findings to score, A,B,C. [default: all the dataset has labels for]")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Findings to tell apart among films that have exactly one of them, A,B,C."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Fewer labels to try: shares of the patients and films of each class, 1%,10%,100%,16."
        ),
    ] = None,
    draws: Annotated[
        int | None, typer.Option(min=1, help="Draws of each number of labels. [default: 5]")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(help="Prompts for zero-shot: a YAML file or a shipped name. [default: chexpert]"),
    ] = None,
    calibrate: Annotated[
        int | None,
        typer.Option(min=2, help="Labelled validation films that turn zero-shot scores into probabilities."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Of attention, finetune and supervised, at most. [default: 20]"),
    ] = None,
    from_layer: Annotated[
        str | None,
        typer.Option(help="First layer that finetune trains, such as stages.1 or layer4. [default: all]"),
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
    """Tell how well findings can be read off a model: figures with 95 % intervals that resample patients.

    Frozen, `linear` is a logistic regression on the image features, `knn` looks at similar films, `attention`
    learns where to look, and `zero-shot` compares sentences that affirm a finding with sentences that deny
    it. `finetune` trains the encoder on the labels, and `supervised` does the same without the pretraining.
    All learn from the train split and choose on the validate split. Films without a label of a finding are
    left out of it.

    Example: `mmil probe datasets/mine --findings "Pleural Effusion,Edema" --uncertain negative`

    Example: `mmil probe datasets/mine --method linear,finetune,supervised,initial --labels 1%,10%,100%`
    """
    methods = _methods(method)
    _check_together(methods, prompts=prompts, calibrate=calibrate, epochs=epochs, from_layer=from_layer,
                    labels=labels, draws=draws)  # fmt: skip

    from mmil_cli.checkpoint import find_checkpoint
    from mmil_cli.cli.progress import StageProgress
    from mmil_cli.stages.label_sets import parse_budget
    from mmil_cli.stages.probe import DEFAULT_PROMPTS, FewLabels, Training, run

    budgets = [] if labels is None else _names(labels, option="--labels")
    few = FewLabels(
        budgets=tuple(dict.fromkeys(map(parse_budget, budgets))), num_seeds=draws or DEFAULT_DRAWS
    )
    found, how = find_checkpoint(checkpoint)
    typer.echo(f"checkpoint: {found} ({how})", err=True)
    with StageProgress() as progress:
        result = run(
            data,
            checkpoint=found,
            out=out,
            split=split,
            methods=[Method(name) for name in methods],
            label_table=label_table,
            findings=None if findings is None else _names(findings, option="--findings"),
            classes=() if classes is None else _names(classes, option="--classes"),
            prompts=prompts or DEFAULT_PROMPTS,
            calibrate=calibrate or 0,
            uncertain=uncertain,
            missing=missing,
            few=few,
            training=Training(epochs=epochs or DEFAULT_EPOCHS, from_layer=from_layer or ""),
            seed=seed,
            device=device,
            on_progress=progress.switching("probe", "films"),
            on_fit=progress.switching("probe", "fits"),
        )
    _show(result)


def _check_together(methods: list[str], **options: object) -> None:
    """Refuse an option that nothing asked for would read."""
    given = {name for name, value in options.items() if value is not None}
    needs: dict[str, set[str]] = {
        "prompts": {"zero-shot"},
        "calibrate": {"zero-shot"},
        "epochs": {str(known) for known in TRAINED},
        "from_layer": {"finetune"},
        "labels": {str(known) for known in METHODS} - {"zero-shot"},
    }
    for name, wanted in needs.items():
        if name in given and not wanted & set(methods):
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is for {' and '.join(sorted(wanted))}, which --method leaves out")
    if "draws" in given and "labels" not in given:
        raise UsageError("--draws is for --labels, which is not given")


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
    _show_points(result)
    typer.echo(f"written: {result.record}")


def _show_points(result: "ProbeResult") -> None:
    if not result.points:
        return
    from mmil_cli.stages.shown import POINT_COLUMNS, point_rows

    show_table(
        f"With fewer labels ({result.provenance['split']}): mean over draws ± their standard deviation",
        POINT_COLUMNS,
        point_rows(result.points),
        left=(0, 1),
    )


def _show_method(part: "MethodResult", result: "ProbeResult") -> None:
    from mmil_cli.stages.shown import (
        CLASS_COLUMNS,
        DECISION_COLUMNS,
        PROBE_COLUMNS,
        class_rows,
        decision_rows,
        probe_rows,
    )

    where = f"{result.num_films} films of {result.num_patients} patients ({result.provenance['split']})"
    if part.table.rows:
        show_table(f"{part.method} on {where}; chance is AUROC 0.50", PROBE_COLUMNS, probe_rows(part.table))
        show_table(
            f"{part.method}: decisions at thresholds chosen on the validate split, and calibration",
            DECISION_COLUMNS,
            decision_rows(part.decisions),
        )
    for name, table in part.classes.items():
        show_table(
            f"{part.method}, {name}: {table.num_films} films; accuracy {table.accuracy.value:.2f}, of the "
            f"largest class {table.chance_accuracy:.2f}",
            CLASS_COLUMNS,
            class_rows(table),
        )
    for why, names in _by_reason(part.skipped).items():
        typer.echo(f"not scored by {part.method}: {listing(names)}: {why}", err=True)
    for name, detail in part.details.items():
        if not detail.get("converged", True):
            typer.echo(f"note: the linear probe of {name} had not converged", err=True)
