"""Groups of commands: in a chosen order, and with one that is meant where none is named."""

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


def in_order(*names: str) -> type[TyperGroup]:
    """A group class whose help lists the commands in this order, the others after them."""

    class Group(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            known = super().list_commands(ctx)
            return [
                *(name for name in names if name in known),
                *(name for name in known if name not in names),
            ]

    return Group
