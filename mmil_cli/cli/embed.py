"""`mmil embed`."""

from pathlib import Path
from typing import Annotated

import typer

EVERYTHING = "all"


def embed(
    data: Annotated[Path, typer.Argument(help="Dataset folder made by `mmil preprocess`.")],
    out: Annotated[
        Path, typer.Option("--out", help="File to write, `.parquet` or `.npz`.", dir_okay=False)
    ] = Path("results/embed/features.parquet"),
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint or run folder. [default: $MMIL_CHECKPOINT, else the newest in ./runs]"),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to take; `all` for every film.")] = EVERYTHING,
    regions: Annotated[
        bool, typer.Option("--regions", help="Keep every region of each film and its mask too.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Write the features of films and reports, float32, for other programs.

    Of each film `pooled` (the encoder's own, for probes) and `image` (projected, of length 1); of its report
    `report`, and each of its `sentences` with its features; ids, split and view. Parquet has a row a film;
    NumPy has each distinct sentence once, `sentence_text` a line each, and the rows that report b holds in
    `report_sentences[report_offsets[b]:report_offsets[b+1]]`. The checkpoint's and dataset's hashes and the
    versions stand in the metadata (`mmil`, or the array `provenance`).

    Example: `mmil embed datasets/mine --checkpoint runs/first --out features.parquet`

    Example: `mmil embed datasets/mine --split test --regions --out regions.npz`
    """
    from mmil_cli.checkpoint import find_checkpoint

    found, how = find_checkpoint(checkpoint)
    typer.echo(f"checkpoint: {found} ({how})", err=True)

    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.embed import run

    with CountProgress("embed", "films") as progress:
        result = run(
            data,
            out,
            checkpoint=found,
            split=None if split == EVERYTHING else split,
            regions=regions,
            device=device,
            on_progress=progress.update,
        )
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(
        f"{result.num_films} films: pooled {result.channels}, joint {result.dim}, "
        f"grid {result.grid[0]} x {result.grid[1]}; {result.num_texts} texts"
    )
    typer.echo(f"written: {result.path}")
