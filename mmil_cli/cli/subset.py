"""`mmil subset`: choose the films of a benchmark."""

from pathlib import Path
from typing import Annotated

import typer


def subset(
    data: Annotated[Path, typer.Argument(help="Dataset folder made by `mmil preprocess`.")],
    findings: Annotated[str, typer.Option("--findings", help="Label columns to tell apart, A,B,C.")],
    out: Annotated[Path, typer.Option("--out", help="CSV to write: image_id, finding.", dir_okay=False)],
    each: Annotated[int, typer.Option("--each", help="Films of each finding.")] = 200,
    split: Annotated[str, typer.Option("--split", help="Where films are drawn from.")] = "test",
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
) -> None:
    """Draw a benchmark such as CheXpert 5x200: so many films of each finding, that have it alone.

    One film a study; films uncertain of another of the findings are not drawn. The list is for
    `mmil preprocess`: --only makes a dataset of it, --exclude one without it.

    Example: `mmil subset datasets/mine --findings Edema,Pneumonia,Fracture --each 50 --out benchmark.csv`
    """
    from mmil_cli.stages.subset import run

    names = [name.strip() for name in findings.split(",") if name.strip()]
    result = run(data, out, findings=names, each=each, split=split, seed=seed)
    for name, images in result.images.items():
        typer.echo(f"{name}: {len(images)} of {result.candidates[name]} films")
    typer.echo(f"list: {result.path}")
