"""`mmil retrieve`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmil_cli.cli.retrieve_index import index, query
from mmil_cli.cli.tables import show_table
from mmil_cli.errors import UsageError, shortened

if TYPE_CHECKING:
    from mmil_cli.metrics.retrieval import RetrievalRow, RetrievalTable
    from mmil_cli.stages.query import ImageQuery, QueryResult, TextQuery
    from mmil_cli.stages.retrieve import RetrieveResult

DEFAULT_OUT = Path("results/retrieve")
DEFAULT_TOP = 10
QUERY_FILE = "query.json"
EVERYTHING = "all"


def retrieve(
    data: Annotated[Path, typer.Argument(help="Dataset folder made by `mmil preprocess`.")],
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="Find the films that fit a text, such as 'large left pleural effusion'; repeatable."
        ),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(help="Find the reports that fit a film (DICOM, PNG or JPEG); repeatable."),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Results of each query. [default: 10]")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint or run folder. [default: $MMIL_CHECKPOINT, else the newest in ./runs]"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split to measure on or to search; `all` for every film. [default: test; all for a query]"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the JSON. [default: results/retrieve; none written for a query]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the bootstrap. [default: 0]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Measure retrieval on a split, or search a dataset with a text or a film.

    Without a query: R@k, median and mean rank and mAP from films to reports and back, among films, and among
    reports, with the size of the gallery, chance, and 95 % intervals that resample patients; then P@k by
    finding. A match is the report of the film's study, or one of identical words; other ways of counting
    stand beside it. Writes retrieve.json and retrieve_cases.parquet.

    Example: `mmil retrieve datasets/mine --split test`

    Example: `mmil retrieve datasets/mine --text "large left pleural effusion" --top 5`

    Example: `mmil retrieve datasets/mine --image film.dcm --json`
    """
    _check_together(text=text, image=image, top=top, seed=seed)

    from mmil_cli.checkpoint import find_checkpoint

    found, how = find_checkpoint(checkpoint)
    typer.echo(f"checkpoint: {found} ({how})", err=True)
    if text or image:
        result = _query(
            data,
            text or [],
            image or [],
            checkpoint=found,
            split=None if split == EVERYTHING else split,
            top=top or DEFAULT_TOP,
            device=device,
        )
        _finish_query(result, out=out, as_json=as_json)
    else:
        _measure(
            data,
            checkpoint=found,
            split=None if split == EVERYTHING else split or "test",
            out=out or DEFAULT_OUT,
            seed=seed or 0,
            device=device,
            as_json=as_json,
        )


def _check_together(
    *, text: list[str] | None, image: list[Path] | None, top: int | None, seed: int | None
) -> None:
    if text and image:
        raise UsageError("--text finds films and --image finds reports; ask for one of them at a time")
    if top is not None and not (text or image):
        raise UsageError("--top is for a query; give --text or --image with it")
    if seed is not None and (text or image):
        raise UsageError("--seed is for the intervals of a measurement; a query has nothing random")


def _measure(
    data: Path, *, checkpoint: Path, split: str | None, out: Path, seed: int, device: str, as_json: bool
) -> None:
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.retrieve import run

    with CountProgress("retrieve", "films") as progress:
        result = run(
            data,
            checkpoint=checkpoint,
            split=split,
            out=out,
            seed=seed,
            device=device,
            on_progress=progress.update,
        )
    if as_json:
        typer.echo(result.record.read_text(encoding="utf-8"), nl=False)
    else:
        _show_figures(result)


def _query(
    data: Path,
    texts: list[str],
    images: list[Path],
    *,
    checkpoint: Path,
    split: str | None,
    top: int,
    device: str,
) -> "QueryResult":
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.query import find_films, find_reports

    if images:
        return find_reports(data, images, checkpoint=checkpoint, split=split, top=top, device=device)
    with CountProgress("retrieve", "films") as progress:
        return find_films(
            data,
            texts,
            checkpoint=checkpoint,
            split=split,
            top=top,
            device=device,
            on_progress=progress.update,
        )


def _finish_query(result: "QueryResult", *, out: Path | None, as_json: bool) -> None:
    from mmil_cli.files import without_nan, write_json

    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    content: Any = without_nan(result.as_json())
    if out is not None:
        write_json(out / QUERY_FILE, content)
        typer.echo(f"written: {out / QUERY_FILE}", err=True)
    if as_json:
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
        return
    for films in result.texts:
        _show_films(films, result.num_gallery)
    for reports in result.images:
        _show_reports(reports, result.num_gallery)


def _show_figures(result: "RetrieveResult") -> None:
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    split = result.provenance["split"]
    _show_direction(f"from films to reports ({split})", result.image_to_text)
    _show_direction(f"from reports to films ({split})", result.text_to_image)
    if result.image_to_image:
        _show_direction(f"from films to the other films of their study ({split})", result.image_to_image)
    if result.text_to_text:
        _show_direction(f"from impressions to findings ({split})", result.text_to_text)
    for direction, name in (("image_to_text", "films to reports"), ("text_to_image", "reports to films")):
        _show_variants(f"from {name}, counted otherwise", result, direction)
    if result.by_label:
        _show_labels(result)
    typer.echo(f"written: {result.record}\nqueries: {result.cases}")


def _show_direction(name: str, table: "RetrievalTable") -> None:
    rows = [(row.name, _measured(row), _chance(row)) for row in table.rows]
    title = f"{name}: {table.num_queries} queries, gallery of {table.num_gallery}"
    show_table(title, ("", "measured [95 %]", "chance"), rows)


def _show_variants(title: str, result: "RetrieveResult", direction: str) -> None:
    """One column a way of counting; each cell has its interval and, in brackets, chance."""
    tables = {name: found[direction] for name, found in result.variants.items()}
    columns = [f"{name}, {table.num_queries} in {table.num_gallery}" for name, table in tables.items()]
    rows = [
        (rows[0].name, *(f"{_measured(row)} ({_chance(row)})" for row in rows))
        for rows in zip(*(table.rows for table in tables.values()), strict=True)
    ]
    show_table(title, ("", *columns), rows)


def _measured(row: "RetrievalRow") -> str:
    from mmil_cli.viz.tables import percent, with_interval

    value, low, high = row.measured.value, row.measured.low, row.measured.high
    if row.name.startswith("R@"):
        return f"{percent(value)} [{percent(low)}, {percent(high)}]"
    return with_interval(value, low, high, digits=1 if row.name.endswith("rank") else 2)


def _chance(row: "RetrievalRow") -> str:
    from mmil_cli.viz.tables import number, percent

    if row.name.startswith("R@"):
        return percent(row.chance)
    return number(row.chance, digits=1 if row.name.endswith("rank") else 2)


def _show_labels(result: "RetrieveResult") -> None:
    """The mean over findings of each direction."""
    from mmil_cli.viz.tables import number, with_interval

    rows = []
    for direction, table in result.by_label.items():
        cells = [
            f"{with_interval(figure.measured.value, figure.measured.low, figure.measured.high)} "
            f"({number(figure.chance)})"
            for figure in table.mean.figures.values()
        ]
        rows.append(
            (direction.replace("_", " "), str(len(table.findings)), str(table.mean.num_gallery), *cells)
        )
    names = next(iter(result.by_label.values())).mean.figures
    title = "by finding, without the query's own patient: mean over findings [95 %] (chance)"
    show_table(title, ("", "findings", "gallery", *names), rows)


def _show_films(query: "TextQuery", num_gallery: int) -> None:
    rows = [
        (str(rank), f"{film.score:.2f}", film.image_id, film.study_id, shortened(" ".join(film.sentences)))
        for rank, film in enumerate(query.films, start=1)
    ]
    title = f"{shortened(query.text)!r} among {num_gallery} films"
    show_table(title, ("", "score", "image", "study", "its report begins"), rows, left=(2, 3, 4))


def _show_reports(query: "ImageQuery", num_gallery: int) -> None:
    rows = [
        (
            str(rank),
            f"{report.score:.2f}",
            report.study_id,
            str(report.num_studies),
            shortened(report.sentences[0].sentence),
        )
        for rank, report in enumerate(query.reports, start=1)
    ]
    title = f"{query.image} among {num_gallery} distinct reports"
    columns = ("", "score", "study", "studies", "its sentence that fits best")
    show_table(title, columns, rows, left=(2, 4))
    best = query.reports[0]
    sentences = [(f"{item.score:.2f}", item.sentence) for item in best.sentences]
    show_table(f"sentences of {best.study_id}", ("score", "sentence"), sentences, left=(1,))


RETRIEVE: dict[str, Callable[..., None]] = {"measure": retrieve, "index": index, "query": query}
"""The subcommands; the first is meant where none is named."""

RETRIEVE_HELP = (
    "Measure retrieval on a split, search a dataset, or index an archive and ask it.\n\n"
    "`mmil retrieve DATASET` is short for `mmil retrieve measure DATASET`.\n\n"
    "Example: `mmil retrieve datasets/mine --split test`\n\n"
    'Example: `mmil retrieve datasets/mine --text "large left pleural effusion" --top 5`\n\n'
    "Example: `mmil retrieve index datasets/mine --out indexes/mine`\n\n"
    'Example: `mmil retrieve query --index indexes/mine --text "large left pleural effusion"`'
)
