"""`mmil view`: a page on this machine to look for phrases in films."""

from pathlib import Path
from typing import Annotated

import typer


def view(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint or run folder.")],
    data: Annotated[Path, typer.Argument(help="Dataset folder made by `mmil preprocess`.")],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of 127.0.0.1; 0 takes any free one.")
    ] = 0,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Print the address, and start no browser.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Pick a film, type a phrase and see at once where the model finds it, in a browser on this machine.

    The page answers on 127.0.0.1 alone, and only under the address printed, which holds a random token.
    What a score means is learned first from up to 100 films and the sentences of their own and each other's
    reports. Ctrl-C ends it.

    Example: `mmil view runs/first dataset`

    Example: `mmil view runs/first dataset --port 8642 --no-open`
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.view import run

    def start(address: str) -> None:
        progress.__exit__(None, None, None)
        typer.echo(f"view: {address}")
        typer.echo("Ctrl-C ends it.", err=True)
        if not no_open:
            _open_browser(address)

    with CountProgress("view", "films") as progress:
        run(checkpoint, data, port=port, device=device, on_progress=progress.update, on_start=start)
    typer.echo("The viewer has ended.", err=True)


def _open_browser(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        typer.echo("no browser could be started; open the address yourself", err=True)
