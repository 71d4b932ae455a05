"""mmil preprocess: films and reports into a dataset folder."""

import math
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmil_cli.data.encoding import Encoding
from mmil_cli.errors import UsageError

if TYPE_CHECKING:
    from mmil_cli.stages.dry_run import DryRun
    from mmil_cli.stages.preprocess import PreprocessResult


class Executor(StrEnum):
    """Who reads the films."""

    PROCESSES = "processes"
    DASK = "dask"


_SOURCES = "table, mimic, openi, chexpert, nih, padchest, rsna, vindr, roco, dicoms"


def preprocess(
    source: Annotated[
        Path,
        typer.Argument(
            help="A table of one row an image (.csv, .jsonl or .parquet), or the folder of an archive."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The dataset folder to make.", file_okay=False)],
    source_name: Annotated[
        str | None,
        typer.Option("--source", help=f"What SOURCE is, where its files do not tell: {_SOURCES}."),
    ] = None,
    labels_only: Annotated[
        bool,
        typer.Option(
            "--labels-only", help="Keep films and labels without reports; for nih, rsna and vindr a must."
        ),
    ] = False,
    side: Annotated[
        int, typer.Option("--side", help="Long side of a stored film, pixels; small films are not enlarged.")
    ] = 512,
    encoding: Annotated[
        Encoding,
        typer.Option("--encoding", help="How pixels are stored; png and raw are exact, jpeg is small."),
    ] = Encoding.PNG,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Processes that read films; one a processor when not given."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="Tables: FIELD=NAME, such as report=note; may be given several times."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="Tables: label columns, A,B,C (grades 0 to 9 too); else all of nothing but 1, 0, -1, blank.",
        ),
    ] = None,
    label_reports: Annotated[
        bool,
        typer.Option(
            "--label-reports", help="Label CheXpert's 14 findings by rules from the reports' words."
        ),
    ] = False,
    root: Annotated[
        Path | None,
        typer.Option("--root", help="The folder of the films; else that of the table or archive."),
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option("--tables", help="Archives: the folder of the CSVs; else the archive's own."),
    ] = None,
    reports: Annotated[
        Path | None,
        typer.Option(
            "--reports", help="mimic, dicoms, chexpert: where the reports are; else with the films."
        ),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(
            "--exclude",
            help="Images, studies or patients to leave out: one id a line, or a table with a column "
            "dicom_id, study_id, subject_id, ...",
        ),
    ] = None,
    only: Annotated[
        Path | None,
        typer.Option("--only", help="What to keep, in a list as for --exclude; all else is left out."),
    ] = None,
    pseudonymise: Annotated[
        Path | None,
        typer.Option(
            "--pseudonymise",
            help="Replace ids by keyed hashes: a file of 32 bytes or more that only you may read. Equal keys "
            "give equal ids. Words of reports stay as they are.",
        ),
    ] = None,
    crosswalk: Annotated[
        Path | None,
        typer.Option(
            "--crosswalk",
            help="With --pseudonymise: write what each new id stands for, for you alone; holds ids "
            "in memory, 0.35 GB a million films.",
        ),
    ] = None,
    study_days: Annotated[
        bool,
        typer.Option(
            "--study-days",
            help="Keep the days since each patient's first study; dates are never kept (tables: study_date).",
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", help="Of the split by patient, where the source names no splits.")
    ] = 0,
    keep_burned_in: Annotated[
        bool,
        typer.Option(
            "--keep-burned-in",
            help="Keep films whose headers say that text is burned in, which may name the patient.",
        ),
    ] = False,
    max_rejected: Annotated[
        float, typer.Option("--max-rejected", help="Fail when a larger share of the records is unusable.")
    ] = 0.5,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another dataset that lies at --out.")
    ] = False,
    executor: Annotated[
        Executor, typer.Option("--executor", help="Who reads the films: local processes, or a Dask cluster.")
    ] = Executor.PROCESSES,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Address of the Dask scheduler: tcp://node1:8786.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List faults, count, estimate time and disk; writes nothing, exits 1 if the run would fail.",
        ),
    ] = False,
) -> None:
    """Turn films and reports into a dataset folder.

    Films are DICOM, PNG or JPEG. Fields of a table: image, report or report_path, image_id, study_id,
    patient_id, view, split. Records that cannot be used are counted, and listed in rejected.csv. An
    interrupted run goes on when the same command is given again.

    Left out are objects of several frames, localisers, segmentations, objects without pixels, and films that
    say text is burned into them. Colour becomes its luma. Films stay as they are stored, never turned or
    mirrored; `orientation` is what the header says, and mmil audit counts those that it calls mirrored.

    Example: mmil preprocess films.csv --column report=note --column patient_id=group --out data/films

    Example: mmil preprocess hospital --reports reports.csv --out data/hospital

    Example: mmil preprocess mimic-cxr-jpg --reports mimic-cxr-reports --out data/mimic --exclude ms_cxr.csv

    Example: mmil preprocess mimic-cxr-jpg --reports mimic-cxr-reports --out data/mimic
    """
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.data.pseudonyms import read_key
    from mmil_cli.data.sources.options import SourceOptions
    from mmil_cli.runtime import num_cores
    from mmil_cli.stages.dry_run import run as look
    from mmil_cli.stages.preprocess import run

    _check_executor(executor, scheduler, workers)
    if dry_run and (overwrite or executor is Executor.DASK):
        raise UsageError(
            "--dry-run writes nothing and reads a few films here; leave out --overwrite and dask"
        )
    names = tuple(name.strip() for name in labels.split(",") if name.strip()) if labels is not None else None
    key = read_key(pseudonymise, remember=crosswalk is not None) if pseudonymise else None
    options = SourceOptions(
        source_name, labels_only, _columns(column or []), names, root, tables, reports, key, study_days
    )
    cores = num_cores() if workers is None else workers
    asked: dict[str, Any] = {
        "source_options": options,
        "exclusions": exclude,
        "only": only,
        "crosswalk": crosswalk,
        "side": side,
        "encoding": encoding,
        "seed": seed,
        "label_reports": label_reports,
        "keep_burned_in": keep_burned_in,
        "max_rejected": max_rejected,
    }
    if dry_run:
        found = look(source, out, **asked)
        _print_dry_run(found, cores)
        raise typer.Exit(1 if found.failures else 0)
    with CountProgress("preprocess", "films") as progress:
        result = run(
            source,
            out,
            **asked,
            overwrite=overwrite,
            workers=cores,
            scheduler=scheduler,
            on_progress=lambda done, total, rejected: progress.update(
                done, total, beside=_left_out(rejected)
            ),
        )
    _print_result(result)


def _check_executor(executor: Executor, scheduler: str | None, workers: int | None) -> None:
    """Refuse what the executor would not heed."""
    if workers is not None and workers < 1:
        raise UsageError(f"--workers is {workers}; it must be 1 or more")
    if executor is Executor.DASK and scheduler is None:
        raise UsageError("--executor dask needs --scheduler ADDRESS, such as tcp://node1:8786")
    if executor is Executor.PROCESSES and scheduler is not None:
        raise UsageError("--scheduler is that of Dask; give it with --executor dask")
    if executor is Executor.DASK and workers is not None:
        raise UsageError("--workers are local processes; with --executor dask the cluster's own are taken")


def _left_out(rejected: Mapping[str, int]) -> str:
    """`left out 3 (missing-file 2, blank 1)`, or nothing."""
    reasons = ", ".join(f"{reason} {number}" for reason, number in rejected.items())
    return f"left out {sum(rejected.values())} ({reasons})" if rejected else ""


def _columns(pairs: list[str]) -> dict[str, str]:
    """`FIELD=NAME` options as a mapping."""
    columns = dict(pair.partition("=")[::2] for pair in pairs)
    wrong = [pair for pair in pairs if not all(pair.partition("=")[::2])]
    if wrong:
        raise UsageError(f"--column {wrong[0]} is not FIELD=NAME, such as report=note")
    if len(columns) < len(pairs):
        raise UsageError("--column names a field twice; each field is one column")
    return columns


def _print_dry_run(found: "DryRun", workers: int) -> None:
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    for reason, (count, ids) in found.faults.items():
        typer.echo(f"fault: {reason}: {count} of {found.records} records ({ids})")
    for reason, (count, ids) in found.sample_faults.items():
        typer.echo(f"fault: {reason}: {count} of {found.sampled} films read ({ids})")
    for failure in found.failures:
        typer.echo(f"the run would fail: {failure}")
    if found.at_out:
        typer.echo(f"at --out: {found.at_out}")
    splits = ", ".join(f"{name} {number}" for name, number in found.splits.items())
    typer.echo(f"records: {found.records}, films to read: {found.films} ({splits or 'none'})")
    if found.seconds is not None:
        each = 1000 * found.seconds / found.films
        typer.echo(f"time: about {_duration(found.seconds / workers)} with {workers} workers "
                   f"({each:.0f} ms a film and worker, from {found.sampled} films)")  # fmt: skip
    if found.bytes_needed is not None:
        typer.echo(f"disk: about {_room(found.bytes_needed)}, free {_room(found.bytes_free)}")
    typer.echo("nothing was written")


def _room(size: int) -> str:
    """`0.13 MB`, `12 GB`."""
    unit, name = (1e9, "GB") if size >= 1e9 else (1e6, "MB")
    return f"{size / unit:.{0 if size >= 10 * unit else 2}f} {name}"


def _duration(seconds: float) -> str:
    """`3 h 05 min`, `12 min`, `40 s`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _print_result(result: "PreprocessResult") -> None:
    info = result.info
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    if result.already_there:
        typer.echo("complete already, nothing to do (--overwrite makes it anew)")
    elif result.resumed:
        typer.echo(f"went on after {result.resumed} records that were done before")
    if result.taken_over and not result.already_there:
        typer.echo(f"{result.taken_over} films of the dataset that lay there were kept, the others read")
    for split, counts in info.counts.items():
        typer.echo(f"{split}: {counts.images} images, {counts.studies} studies, {counts.patients} patients")
    told = _left_out(info.rejected)
    typer.echo(f"{told.replace('left out', 'left out:', 1)}, see rejected.csv" if told else "left out: none")
    typer.echo(f"labels: {', '.join(info.label_names) or 'none'}")
    typer.echo(f"content: {info.content_hash[:16]}")
    typer.echo(f"folder: {result.folder}")
