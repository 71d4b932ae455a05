"""`mmil export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Form(StrEnum):
    """What other programs open."""

    HUGGINGFACE = "huggingface"
    ONNX = "onnx"


class Tower(StrEnum):
    """Half a model."""

    IMAGE = "image"
    TEXT = "text"
    BOTH = "both"


def export(
    to: Annotated[Form, typer.Option("--to", help="Form to write.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            help="Checkpoint or run folder. [default: $MMIL_CHECKPOINT, else the newest in ./runs]"
        ),
    ] = None,
    tower: Annotated[
        Tower | None,
        typer.Option(help="Which to write. [default: both for huggingface, image for onnx]"),
    ] = None,
) -> None:
    """Write the towers of a checkpoint for other programs, checked against our own before they are kept.

    `huggingface`: folders `image/` and `text/` for AutoModel, AutoImageProcessor and AutoTokenizer, each with
    its projection. `onnx`: the image tower from bytes to regions, for any size of batch; it needs the extra
    `export`. `mmil.json` beside them says how to use them, and how large the largest difference was.

    Example: `mmil export runs/first --to onnx --out exported`

    Example: `mmil export runs/first --to huggingface --tower text --out exported`
    """
    from mmil_cli.checkpoint import find_checkpoint

    found, how = find_checkpoint(checkpoint)
    typer.echo(f"checkpoint: {found} ({how})", err=True)

    from mmil_cli.stages.export import run

    chosen = tower or (Tower.IMAGE if to is Form.ONNX else Tower.BOTH)
    result = run(found, out, to=to.value, tower=chosen.value)
    for name, difference in result.differences.items():
        typer.echo(f"{name} tower: largest difference {difference:.1e}")
    typer.echo(f"written: {result.folder}")
