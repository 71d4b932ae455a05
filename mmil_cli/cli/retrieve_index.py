"""`mmil retrieve index` and `mmil retrieve query`: an index of an archive, and questions to it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmil_cli.cli.tables import show_table
from mmil_cli.errors import UsageError, shortened

if TYPE_CHECKING:
    from mmil_cli.stages.archive import Archive
    from mmil_cli.stages.archive_filter import Filter
    from mmil_cli.stages.archive_query import Answer

DEFAULT_TOP = 10
RECORD, SHEET = "query.json", "contact.html"


def index(
    data: Annotated[Path, typer.Argument(help="Dataset folder made by `mmil preprocess`.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the index.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint or run folder. [default: $MMIL_CHECKPOINT, else the newest in ./runs]"),
    ] = None,
    faiss: Annotated[
        bool,
        typer.Option("--faiss", help="Also FAISS's graph, for `query --like`; an extra."),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Encode every film and report of a dataset once, to be asked by `mmil retrieve query`.

    Takes 5 bytes x regions x dimension of disk for each film. Dataset and checkpoint stay where they are: the
    index holds their hashes, and is refused with others.

    Example: `mmil retrieve index datasets/mine --checkpoint runs/first --out indexes/mine`
    """
    from mmil_cli.checkpoint import find_checkpoint
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.stages.archive import build_archive

    found, how = find_checkpoint(checkpoint)
    typer.echo(f"checkpoint: {found} ({how})", err=True)
    with CountProgress("index", "films") as progress:
        number = build_archive(
            data, out, checkpoint=found, neighbours=faiss, device=device, on_progress=progress.update
        )
    typer.echo(f"{number} films: {out}")


def query(
    index: Annotated[Path, typer.Option("--index", help="Folder made by `mmil retrieve index`.")],
    text: Annotated[
        list[str] | None,
        typer.Option(help="Films that fit a text; several sentences are one report; repeatable."),
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option(help="Reports that fit a film (DICOM, PNG or JPEG); repeatable.")
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(help="Films like the film of the dataset with this image id; repeatable."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Results of each query.")] = DEFAULT_TOP,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Only films labelled with this finding, or without it: FINDING=0; repeatable."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only films of this split. [default: all]")] = None,
    view: Annotated[
        str | None, typer.Option(help="Only films of this view, such as PA. [default: all]")
    ] = None,
    from_day: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Only studies of this day or later, in days since their patient's first study (the dataset "
            "must have them: mmil preprocess --study-days; it never has dates).",
        ),
    ] = None,
    to_day: Annotated[int | None, typer.Option(min=0, help="Only studies of this day or before.")] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="Of a text: score all films on a coarser grid, and only the best fifth in full."
        ),
    ] = False,
    faiss: Annotated[
        bool, typer.Option("--faiss", help="With --like: through FAISS's graph, which may miss a film.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for query.json and a contact sheet."),
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The index's dataset, if it was moved.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="The index's checkpoint, if it was moved.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Ask an index: films for a text, reports for a film, films like a film.

    All films are compared, and the answer is exact, unless --fast or --faiss is given. With --out, a page
    shows each hit with the sentence that matched and where in the film it was found.

    Example: `mmil retrieve query --index indexes/mine --text "large left pleural effusion" --out found`

    Example: `mmil retrieve query --index indexes/mine --image film.dcm --label "Pleural Effusion" --view PA`

    Example: `mmil retrieve query --index indexes/mine --text "resolving edema" --from-day 2 --to-day 30`
    """
    _check_together(text, image, like, fast=fast, faiss=faiss)

    from mmil_cli.stages.archive import open_archive
    from mmil_cli.stages.archive_filter import Filter
    from mmil_cli.stages.archive_query import notes_of, provenance_of

    archive = open_archive(index, data=data, checkpoint=checkpoint, device=device)
    chosen = Filter(labels=tuple(label or ()), split=split, view=view, from_day=from_day, to_day=to_day)
    answers = _ask(archive, chosen, text or [], image or [], like or [], top=top, fast=fast, faiss=faiss)
    notes = (*notes_of(archive, text or []), *(note for answer in answers for note in answer.notes))
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    content = {
        "answers": [answer.as_json() for answer in answers],
        "notes": notes,
        "provenance": provenance_of(archive, chosen, top=top),
    }
    _finish(archive, answers, content, out=out, as_json=as_json)


def _check_together(
    text: list[str] | None, image: list[Path] | None, like: list[str] | None, *, fast: bool, faiss: bool
) -> None:
    if not (text or image or like):
        raise UsageError("nothing is asked; give --text, --image or --like")
    if fast and not text:
        raise UsageError("--fast is for --text; reports and films like a film are found fast without it")
    if faiss and not like:
        raise UsageError("--faiss is for --like; a text is compared with regions, not with one vector a film")


def _ask(
    archive: "Archive",
    chosen: "Filter",
    texts: list[str],
    images: list[Path],
    likes: list[str],
    *,
    top: int,
    fast: bool,
    faiss: bool,
) -> list["Answer"]:
    from mmil_cli.stages.archive_query import films_for_text, films_like, reports_for_film

    return [
        *(films_for_text(archive, text, chosen=chosen, top=top, fast=fast) for text in texts),
        *(reports_for_film(archive, image, chosen=chosen, top=top) for image in images),
        *(films_like(archive, name, chosen=chosen, top=top, faiss=faiss) for name in likes),
    ]


def _finish(
    archive: "Archive", answers: list["Answer"], content: dict[str, Any], *, out: Path | None, as_json: bool
) -> None:
    from mmil_cli.files import make_folder, without_nan, write_json, write_text

    if out is not None:
        from mmil_cli.stages.contact_sheet import contact_sheet

        make_folder(out)
        write_json(out / RECORD, content)
        write_text(out / SHEET, contact_sheet(archive, answers))
        typer.echo(f"written: {out / RECORD}\nsheet: {out / SHEET}", err=True)
    if as_json:
        typer.echo(json.dumps(without_nan(content), indent=2, ensure_ascii=False, allow_nan=False))
        return
    for answer in answers:
        _show(answer)


def _show(answer: "Answer") -> None:
    from mmil_cli.viz.tables import number

    days = ("day",) if any("day" in hit.about for hit in answer.hits) else ()
    rows = [
        (
            str(rank),
            f"{hit.score:.2f}",
            hit.about["study_id" if answer.kind == "image" else "image_id"],
            hit.about["split"],
            hit.about["view"],
            *(hit.about.get(name, "") for name in days),
            number(hit.sentence_score),
            shortened(hit.sentence),
        )
        for rank, hit in enumerate(answer.hits, start=1)
    ]
    what = "reports" if answer.kind == "image" else "films"
    scored = "" if answer.num_scored == answer.num_gallery else f", {answer.num_scored} of them in full"
    title = f"{shortened(answer.query)!r} among {answer.num_gallery} {what}{scored}"
    id_name = "study" if answer.kind == "image" else "image"
    columns = ("", "score", id_name, "split", "view", *days, "fit", "its sentence that matches best")
    show_table(title, columns, rows, left=(2, 3, 4, len(columns) - 1))
