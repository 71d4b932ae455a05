"""The command `mmil`: every subcommand registered, and errors turned into one sentence and an exit code."""

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Annotated, NoReturn, ParamSpec

import typer

from mmil_cli import __version__
from mmil_cli.cli.audit import audit
from mmil_cli.cli.bench import BENCHES
from mmil_cli.cli.compare import compare
from mmil_cli.cli.demo import demo
from mmil_cli.cli.embed import embed
from mmil_cli.cli.export import export
from mmil_cli.cli.ground import ground
from mmil_cli.cli.groups import in_order, with_default
from mmil_cli.cli.phantom import phantom
from mmil_cli.cli.preprocess import preprocess
from mmil_cli.cli.pretrain import pretrain
from mmil_cli.cli.probe import probe
from mmil_cli.cli.report import report
from mmil_cli.cli.retrieve import RETRIEVE, RETRIEVE_HELP
from mmil_cli.cli.scores import scores
from mmil_cli.cli.study import study
from mmil_cli.cli.subset import subset
from mmil_cli.cli.view import view
from mmil_cli.errors import MmilError

P = ParamSpec("P")

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes of a shell for a process that SIGINT or SIGTERM ended."""

ADVICE = {
    errno.ENOSPC: "make room and give the same command again; what was complete before is untouched",
    errno.EDQUOT: "make room and give the same command again; what was complete before is untouched",
    errno.EFBIG: "a limit of this system forbids files of that size; what was complete before is untouched",
    errno.EACCES: "choose a folder that you may write to, or mend its permissions",
    errno.EPERM: "choose a folder that you may write to, or mend its permissions",
    errno.EROFS: "choose a folder that you may write to, such as with --out",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another one",
    errno.EEXIST: "a file stands where a folder is needed; choose another one",
    errno.EISDIR: "a folder stands where a file is needed; choose another one",
    errno.ENAMETOOLONG: "choose a shorter name, such as with --out",
}
"""What to do about a fault of the file system."""


class _Stopped(Exception):
    """The user or the reader of our output has ended the command; its cause says which."""


def _guarded(command: Callable[P, None]) -> Callable[P, None]:
    """The command with an exception that reaches `main`, where Typer would answer to the cause itself."""

    @functools.wraps(command)
    def guarded(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            command(*arguments, **options)
            sys.stdout.flush()
        except (KeyboardInterrupt, BrokenPipeError) as cause:
            raise _Stopped from cause

    return guarded


app = typer.Typer(
    name="mmil",
    cls=in_order(
        "preprocess",
        "audit",
        "subset",
        "pretrain",
        "probe",
        "retrieve",
        "ground",
        "compare",
        "study",
        "report",
        "view",
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=(
        "Learn from radiographs and their reports: an image is a bag of regions, "
        "a report a bag of sentences, a method is a score between them.\n\n"
        "The way: preprocess (and audit), pretrain, then probe, retrieve or ground. "
        "`mmil demo` goes all of it on generated studies."
    ),
)
for command in (
    preprocess,
    audit,
    pretrain,
    probe,
    ground,
    compare,
    embed,
    export,
    scores,
    phantom,
    subset,
    report,
    view,
    study,
    demo,
):
    app.command()(_guarded(command))

bench = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Make the figures of mmil's own parts again, on this machine.\n\nExample: `mmil bench mi --quick`",
)
for subcommand in BENCHES:
    bench.command()(_guarded(subcommand))
app.add_typer(bench, name="bench")

retrieve = typer.Typer(cls=with_default("measure"), no_args_is_help=True, rich_markup_mode="markdown")
for name, part in RETRIEVE.items():
    retrieve.command(name)(_guarded(part))
app.add_typer(retrieve, name="retrieve", help=RETRIEVE_HELP)


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
    """Runs the command line. Exits with 0, 1 for a failure, 2 for misuse, 130 or 143 after a signal."""
    # Leave as on an exception, so that unfinished files and worker processes are cleared away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name or a sign that the terminal cannot show is no failure
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except MmilError as error:
        _fail(str(error), code=error.exit_code)
    except _Stopped as stop:
        if isinstance(stop.__cause__, BrokenPipeError):
            _let_go_of_output()
            sys.exit(0)
        _fail("interrupted; give the same command again: preprocess, pretrain and study go on from there",
              code=INTERRUPTED)  # fmt: skip
    except MemoryError as error:
        _fail(f"not enough memory ({error}); ask for smaller batches, films or --workers", code=1)
    except OSError as error:
        _fail(_told(error), code=1)


def _fail(sentence: str, *, code: int) -> NoReturn:
    """Tells what is wrong on standard error and ends the process."""
    typer.secho(f"mmil: {sentence}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
    sys.exit(code)


def _told(error: OSError) -> str:
    """A fault of the file system as a sentence: where, what, and what to do about it."""
    where = f"{error.filename}: " if error.filename else ""
    advice = ADVICE.get(error.errno or 0)
    return f"{where}{error.strerror or error}{f'; {advice}' if advice else ''}"


def _let_go_of_output() -> None:
    """The reader of the pipe has gone: what is still buffered goes nowhere, and nobody complains of it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
