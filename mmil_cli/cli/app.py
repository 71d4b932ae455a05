"""The command `mmil`: every subcommand registered, and errors turned into one sentence and an exit code."""

import sys
from typing import Annotated

import typer

from mmil_cli import __version__
from mmil_cli.cli.demo import demo
from mmil_cli.cli.ground import ground
from mmil_cli.cli.phantom import phantom
from mmil_cli.cli.preprocess import preprocess
from mmil_cli.cli.pretrain import pretrain
from mmil_cli.cli.probe import probe
from mmil_cli.cli.retrieve import retrieve
from mmil_cli.errors import MmilError

app = typer.Typer(
    name="mmil",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=(
        "Learn from radiographs and their reports: an image is a bag of regions, "
        "a report a bag of sentences, a method is a score between them.\n\n"
        "The way: preprocess, pretrain, then probe, retrieve or ground. "
        "`mmil demo` goes all of it on generated studies."
    ),
)
for command in (preprocess, pretrain, probe, retrieve, ground, phantom, demo):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmil {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Options that stand before a subcommand."""


def main() -> None:
    """Runs the command line. Exit code 0, 1 for a failure, 2 for misuse, 130 when interrupted."""
    try:
        app()
    except MmilError as error:
        typer.secho(f"mmil: {error}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("mmil: interrupted; the same command goes on from what was saved", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the pipe has gone; nothing is left to tell
        sys.exit(0)
    except OSError as error:
        typer.echo(
            f"mmil: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True
        )
        sys.exit(1)
