"""`mmil study`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.config.shipped import shipped_files
from mmil_cli.errors import UsageError

if TYPE_CHECKING:
    from mmil_cli.stages.study.plan import StudyPlan
    from mmil_cli.stages.study.run import StudyResult
    from mmil_cli.stages.study.verdicts import ClaimVerdict


def study(
    recipe: Annotated[
        str, typer.Argument(help=f"A YAML file, or one of: {', '.join(shipped_files('studies'))}.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the study; what is done there is not redone.")],
    form: Annotated[
        str, typer.Option(help="Of the recipe: short (minutes) or full (an hour or two).")
    ] = "short",
    scale: Annotated[
        float, typer.Option(help="Multiplies studies and epochs; for whoever has GPUs and days.")
    ] = 1.0,
    data: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER: your dataset folder as data NAME of the recipe.")
    ] = None,
    phrases: Annotated[
        list[str] | None, typer.Option(help="NAME=TABLE: phrases and boxes of that data, for grounding.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Cells at a time; by default one a processor, or one a GPU.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Processors of a cell; the results keep to them.")] = 1,
    executor: Annotated[str, typer.Option(help="processes or dask.")] = "processes",
    scheduler: Annotated[str | None, typer.Option(help="Of dask, such as tcp://node1:8786.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and stop.")] = False,
) -> None:
    """Test claims: run every cell of a study, and say of each claim whether it holds.

    A cell is one model, or one bench, from one seed; each is kept, and the same command goes on where it was
    stopped. Ends with the verdicts, tables in Parquet and CSV, and one page.

    Example: `mmil study lse-nl --out studies/lse-nl`
    """
    from mmil_cli.config.study import load_study
    from mmil_cli.stages.study.cells import plan_study

    address = _address(executor, scheduler)
    plan = plan_study(
        load_study(recipe),
        form=form,
        scale=scale,
        given=_pairs("--data", data),
        phrases=_pairs("--phrases", phrases),
    )
    if dry_run:
        _show_plan(plan)
        return
    from mmil_cli.cli.progress import StageProgress
    from mmil_cli.stages.study.run import Watchers, run

    with StageProgress() as progress:
        watchers = Watchers(
            on_stage=lambda name: progress.start(name, "cells" if name == "cells" else "studies"),
            on_note=lambda text: typer.echo(text, err=True),
        )
        result = run(
            plan, out, workers=workers, threads=threads, scheduler=address, device=device, watchers=watchers
        )
    _show(result)
    if result.failures:
        raise typer.Exit(1)


def _address(executor: str, scheduler: str | None) -> str | None:
    if executor not in ("processes", "dask"):
        raise UsageError(f"--executor is processes or dask, not {executor!r}")
    if (executor == "dask") != (scheduler is not None):
        raise UsageError("--executor dask and --scheduler ADDRESS go together; give both or neither")
    return scheduler


def _pairs(option: str, given: list[str] | None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in given or ():
        name, sign, path = text.partition("=")
        if not (name and sign and path):
            raise UsageError(f"{option} takes NAME=PATH, not {text!r}")
        if name in found:
            raise UsageError(f"{option}: {name} is given twice")
        found[name] = Path(path)
    return found


def _show_plan(plan: "StudyPlan") -> None:
    minutes = plan.study.forms[plan.form].minutes
    typer.echo(f"{plan.study.title}: {plan.study.purpose}")
    for entry in plan.data:
        settings = ", ".join(f"{key} {value}" for key, value in entry.settings.items())
        typer.echo(f"data {entry.name}: {entry.title}" + (f" ({settings})" if settings else ""))
    typer.echo(
        f"{len(plan.cells)} cells: {len(plan.rows)} arms, {len(plan.conditions)} conditions, "
        f"{len(plan.seeds)} seeds; the {plan.form} form is meant to take {minutes:g} minutes on two cores"
        + ("" if plan.scale == 1 else f", times what --scale {plan.scale:g} adds")
    )
    for row in plan.rows:
        typer.echo(f"  {row.name}" + (" (floor)" if row.floor else ""))
    for claim in plan.claims:
        typer.echo(f"claim: {claim.text} ({claim.source})")
    for claim in plan.untested:
        typer.echo(f"claim, not in this form: {claim.text} ({claim.source})")


def _show(result: "StudyResult") -> None:
    from mmil_cli.cli.tables import show_table

    titles = {entry.name: entry.title for entry in result.plan.data}
    for name in result.plan.data_names():
        rows = []
        for found in result.verdicts:
            if found.data != name:
                continue
            rows.append((str(found.verdict), found.claim.text, _least(found), f"{found.claim.margin:g}"))
        if rows:
            show_table(
                f"Claims on {titles.get(name, result.plan.study.title)}",
                ("verdict", "claim", "least difference, deciding interval", "margin"),
                rows,
                left=(0, 1),
            )
    if result.failures:
        show_table("Cells that failed", ("cell", "why"), list(result.failures.items()), left=(0, 1))
    typer.echo(f"Open {result.page} in a browser; the tables are beside it.")


def _least(found: "ClaimVerdict") -> str:
    """The smallest of a claim's differences, and how many there are."""
    from mmil_cli.viz.tables import with_interval

    known = [item for item in found.comparisons if item.estimate.num_seeds]
    if not known:
        return "-"
    least = min(known, key=lambda item: item.estimate.value)
    measured = with_interval(least.estimate.value, least.deciding.low, least.deciding.high, digits=3)
    return f"{measured}, of {len(known)}" if len(known) > 1 else measured
