"""`mmil scores`."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mmil_cli.stages.parts import Part, PartGroup


def scores(
    name: Annotated[
        str | None, typer.Argument(help="A part or preset to describe in full; all in short otherwise.")
    ] = None,
) -> None:
    """List what a score can be made of: aggregators, critics, objectives and presets, with their equations.

    Every term also takes `temperature=` and `weight=`. A scale (gamma, temperature) is a number, `learned`,
    `learned(start=5, low=1, high=50)`, `auto` or `auto(regions=8)`.

    Example: `mmil scores lse`
    """
    from mmil_cli.stages.parts import find_parts, list_parts

    if name is not None:
        for part in find_parts(name):
            _describe(part)
        return
    for group in list_parts():
        _list(group)


def _list(group: "PartGroup") -> None:
    from mmil_cli.cli.tables import show_table

    is_preset = group.title.startswith("presets")
    rows = [
        (part.name, part.kind, part.about if is_preset else part.equation, part.source, _options(part))
        for part in group.parts
    ]
    columns = ("name", "level", "equation", "source", "arguments")
    shown = [
        place for place in range(5) if not (is_preset and place == 4) and any(row[place] for row in rows)
    ]
    show_table(
        group.title,
        ["method" if is_preset and place == 2 else columns[place] for place in shown],
        [[row[place] for place in shown] for row in rows],
        left=range(5),
    )


def _describe(part: "Part") -> None:
    typer.echo(f"{part.name}\n  {part.equation}\n  {part.source}\n")
    typer.echo(part.about)
    if part.arguments:
        typer.echo("\nArguments: " + ", ".join(part.arguments))
    typer.echo()


def _options(part: "Part") -> str:
    return ", ".join(part.arguments)
