"""`mmil ground`: where a phrase is found in a film, or how well phrases of a table are found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmil_cli.cli.ground_report import film_cells, find, ground_report
from mmil_cli.cli.tables import show_table
from mmil_cli.errors import UsageError, shortened

if TYPE_CHECKING:
    from mmil_cli.metrics.intervals import Interval
    from mmil_cli.stages.ground import GroundResult
    from mmil_cli.stages.ground_phrases import PhraseResult

SHOWN = {
    "cnr_signed": "CNR",
    "cnr": "|CNR|",
    "miou": "mIoU",
    "miou_calibrated": "mIoU calibrated",
    "pointing": "pointing",
    "pixel_auroc": "pixel AUROC",
}
"""Metrics of the tables, in the order of the columns; the others are in the JSON."""

DEFAULT_OUT = Path("results/ground")
DEFAULT_SPLIT = "test"
EVERYTHING = "all"


def ground(
    image: Annotated[Path | None, typer.Argument(help="Film to look at: DICOM, PNG or JPEG.")] = None,
    phrase: Annotated[
        list[str] | None, typer.Argument(help="What to look for, each phrase in quotes; several at once.")
    ] = None,
    phrases: Annotated[
        Path | None,
        typer.Option(
            "--phrases",
            help="Evaluate on a table of phrases and boxes instead (MS-CXR, RSNA, VinDr, NIH, COCO, masks); "
            "with --data.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", help="Find every sentence of a report in the film: a text file; best with --data."
        ),
    ] = None,
    image_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            help="A film of the dataset in place of IMAGE, with its own report unless --report is given.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Dataset folder: of --phrases, of --id, or whose films a --report is held against.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="Evaluation: split of the dataset; `all` takes every film. [default: test]"
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="Checkpoint or run folder. [default: $MMIL_CHECKPOINT, else the newest under ./runs]",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for what is written.")] = DEFAULT_OUT,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            help="Where a box begins, as a share of the way from the map's median (0) to its peak (1). "
            "[default: 0.5]",
        ),
    ] = None,
    smooth: Annotated[
        float, typer.Option("--smooth", help="Sigma of a Gaussian over the map, in regions of the grid.")
    ] = 0.0,
    dicom: Annotated[
        bool,
        typer.Option(
            "--dicom",
            help="Of a DICOM film also write an overlay, a segmentation and a structured report for a PACS; "
            "they hold the patient's data as the film does (an extra).",
        ),
    ] = False,
    pseudonymise: Annotated[
        Path | None,
        typer.Option(
            "--pseudonymise", help="Evaluation: the dataset's key file, for a table with ids of the source."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, help="Evaluation: of shuffled phrases and bootstrap resamples. [default: 0]"
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Find what phrases name in a film: a heat map, its peak, and boxes in pixels of the film.

    Writes FILM.png and FILM.json, and with --dicom FILM_overlay.dcm, FILM_segments.dcm and FILM_report.dcm.
    With --phrases and --data, measures how well a table of phrases and boxes is found, beside random weights,
    shuffled phrases, location priors, the centre and chance; writes ground.json, phrases.csv and
    ground_cases.parquet.

    Example: `mmil ground film.dcm "left pleural effusion" "cardiomegaly"`

    With --report or --id, each sentence of a report gets its own map, in one picture and one page, with the
    sentences that find nothing in this film, and the regions that each score is made of.

    Example: `mmil ground film.dcm --report report.txt --data datasets/mine`

    Example: `mmil ground --phrases MS_CXR_Local_Alignment_v1.1.0.csv --data datasets/mimic`
    """
    if report is not None or image_id is not None:
        _refuse({"--phrases": phrases, "--split": split, "--threshold": threshold, "PHRASE": phrase or None,
                 "--dicom": dicom or None},
                "does not go with a whole report")  # fmt: skip
        ground_report(
            image,
            report,
            image_id,
            data,
            checkpoint=checkpoint,
            out=out,
            smooth=smooth,
            seed=seed,
            device=device,
        )
        return
    if phrases is None:
        evaluating = {"--data": data, "--split": split, "--seed": seed, "--pseudonymise": pseudonymise}
        _refuse(evaluating, "evaluates; it needs --phrases with it")
        if image is None:
            raise UsageError('give a film and phrases, such as: mmil ground film.dcm "pleural effusion"')
        _ground_film(
            image,
            phrase or [],
            checkpoint=checkpoint,
            out=out,
            threshold=threshold,
            smooth=smooth,
            dicom=dicom,
            device=device,
        )
        return
    _refuse(
        {"IMAGE": image, "--threshold": threshold, "--dicom": dicom or None},
        "is for one film; it does not go with --phrases",
    )
    if data is None:
        raise UsageError("--phrases needs --data, the dataset folder of the films that it names")
    _evaluate(
        phrases,
        data,
        split=split or DEFAULT_SPLIT,
        checkpoint=checkpoint,
        out=out,
        smooth=smooth,
        key=pseudonymise,
        seed=seed or 0,
        device=device,
    )


def _refuse(options: Mapping[str, object], why: str) -> None:
    """An option that would change nothing is a mistake of the caller's."""
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"{name} {why}")


def _ground_film(
    image: Path,
    phrases: Sequence[str],
    *,
    checkpoint: Path | None,
    out: Path,
    threshold: float | None,
    smooth: float,
    dicom: bool,
    device: str,
) -> None:
    from mmil_cli.stages.ground import run
    from mmil_cli.stages.similarity import DEFAULT_THRESHOLD

    result = run(
        image,
        phrases,
        checkpoint=find(checkpoint),
        out=out,
        threshold=DEFAULT_THRESHOLD if threshold is None else threshold,
        smooth=smooth,
        dicom=dicom,
        device=device,
    )
    _print_film(result)


def _evaluate(
    phrases: Path,
    data: Path,
    *,
    split: str,
    checkpoint: Path | None,
    out: Path,
    smooth: float,
    key: Path | None,
    seed: int,
    device: str,
) -> None:
    from mmil_cli.cli.progress import CountProgress
    from mmil_cli.data.pseudonyms import read_key
    from mmil_cli.stages.ground_phrases import run

    with CountProgress("ground", "films") as progress:
        result = run(
            phrases,
            data,
            checkpoint=find(checkpoint),
            out=out,
            split=None if split == EVERYTHING else split,
            smooth=smooth,
            pseudonyms=read_key(key) if key else None,
            seed=seed,
            device=device,
            on_progress=progress.update,
        )
    _print_evaluation(result)


def _print_film(result: "GroundResult") -> None:
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    for finding in result.findings:
        if finding.unknown_words:
            share = f"{finding.unknown_words:.0%}"
            phrase = shortened(finding.phrase)
            typer.echo(f"note: the model does not know {share} of the words of {phrase!r}", err=True)
        if finding.is_cut:
            typer.echo(f"note: too long for the model, the end does not count: {shortened(finding.phrase)!r}",
                       err=True)  # fmt: skip
    height, width = result.film.pixels.shape
    show_table(
        f"{result.film.path.name}, {width} x {height} pixels",
        ("phrase", "score", "similarity", "peak x, y", "boxes x, y, w, h"),
        [film_cells(finding) for finding in result.findings],
        left=(0, 4),
    )
    typer.echo(f"picture: {result.picture}\nnumbers: {result.record}")
    for path in result.objects:
        typer.echo(f"DICOM: {path}")


def _print_evaluation(result: "PhraseResult") -> None:
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    counts = f"{result.num_phrases} phrases in {result.num_films} films of {result.num_patients} patients"
    prior = f"{result.num_prior} phrases of other splits" if result.num_prior else "the other patients"
    typer.echo(f"{counts}; location prior from {prior}\n")
    micro = {name: table.micro.metrics for name, table in result.tables.items()}
    _show_metrics("mean over phrases, with 95 % intervals", micro)
    differences = {f"model - {name}": table.micro.metrics for name, table in result.differences.items()}
    _show_metrics("difference on the same phrases", differences)
    model = result.tables["model"]
    findings = {f"{row.name} ({row.num_samples})": row.metrics for row in model.findings}
    _show_metrics("model, by finding", {**findings, "mean over findings": model.macro.metrics})
    typer.echo(f"numbers: {result.record}\nphrases: {result.samples}")


def _show_metrics(title: str, rows: Mapping[str, Mapping[str, "Interval"]]) -> None:
    """Values with their intervals; a dash where undefined."""
    from mmil_cli.viz.tables import with_interval

    cells = [
        (name, *(with_interval(v.value, v.low, v.high) for v in (metrics[metric] for metric in SHOWN)))
        for name, metrics in rows.items()
    ]
    show_table(title, ("", *SHOWN.values()), cells)
