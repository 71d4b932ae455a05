"""`mmil audit`: look a dataset through before anything is learned from it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mmil_cli.stages.audit import AuditResult

DEFAULT_OUT = Path("results/audit")


def audit(
    data: Annotated[Path, typer.Argument(help="Dataset folder made by `mmil preprocess`.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for audit.json and index.html.", file_okay=False)
    ] = DEFAULT_OUT,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer",
            help="Count the tokens unknown to this one: a folder with tokenizer.json, or a vocab.txt.",
        ),
    ] = None,
) -> None:
    """Look a dataset through for what would make its numbers wrong; exits with 1 on a hard fault.

    Hard: damaged shards or films, Git LFS pointers, blank films, empty reports, and patients, studies or
    identical films in more than one split. Soft, for a person to look at: films alike but for brightness,
    contrast or size, identical reports, films that look inverted, labels that the report contradicts,
    tokens that the tokenizer does not know. index.html shows what was found.

    Example: `mmil audit datasets/mine`

    Example: `mmil audit datasets/mine --tokenizer runs/mine/checkpoint/tokenizer --out results/audit`
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.audit import run

    with CountProgress("audit", "films") as progress:
        result = run(data, out, tokenizer=tokenizer, on_progress=progress.update)
    _print_result(result)
    if result.has_hard_faults:
        raise typer.Exit(1)


def _print_result(result: "AuditResult") -> None:
    from mmil_cli.stages.audit import JSON_FILE, PAGE_FILE

    for note in result.notes:
        typer.echo(f"not looked at: {note}", err=True)
    for item in result.found:
        typer.echo(
            f"{item.check.severity}: {item.name}: {item.count} {item.check.unit}. {item.check.meaning}"
        )
        if item.is_hard:
            typer.echo(f"  next: {item.check.advice}")
    hard = sum(item.is_hard for item in result.found)
    verdict = f"{hard} kinds of hard faults" if hard else "no hard fault"
    typer.echo(f"{result.checked} of {result.info.num_rows} films looked at: {verdict}")
    typer.echo(f"page: {result.folder / PAGE_FILE}")
    typer.echo(f"list: {result.folder / JSON_FILE}")
