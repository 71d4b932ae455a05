"""A group of commands of which one is meant where none is named."""

from typing import Any

from typer.core import TyperGroup


def with_default(name: str) -> type[TyperGroup]:
    """A group class that takes `GROUP ARGUMENTS` for `GROUP name ARGUMENTS`.

    A first argument that is a command's name is that command: a folder of such a name is written `./name`.
    Help asked for before anything else is the group's own.
    """

    class Group(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            asked = bool(args) and args[0] not in self.commands and args[0] not in ctx.help_option_names
            return super().parse_args(ctx, [name, *args] if asked else args)

    return Group
