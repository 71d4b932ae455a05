"""The page of the demo: curves, tables and grounded examples in one HTML file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmil_cli.build import load_checkpoint
from mmil_cli.data.phrases import Phrase
from mmil_cli.inference import Embedder
from mmil_cli.metrics.retrieval import RetrievalTable
from mmil_cli.stages.demo_summary import SummaryRow
from mmil_cli.stages.film import open_film
from mmil_cli.stages.ground import ground_film
from mmil_cli.stages.ground_phrases import PhraseResult
from mmil_cli.stages.probe import MethodResult, ProbeResult
from mmil_cli.stages.retrieve import RetrieveResult
from mmil_cli.stages.shown import PROBE_COLUMNS, probe_rows
from mmil_cli.training.log import read_log
from mmil_cli.viz.drawings import training
from mmil_cli.viz.overlay import PhraseMap, overlay_figure
from mmil_cli.viz.page import Block, Command, Drawing, Heading, Page, Paragraph, Picture, Table, render
from mmil_cli.viz.tables import number, with_interval

BANNER = "Generated studies. Nothing here is a patient, and no number is clinical."
METRICS = {
    "pointing": "pointing",
    "cnr": "CNR",
    "cnr_signed": "signed CNR",
    "pixel_auroc": "pixel AUROC",
    "miou": "mIoU",
}
SYSTEMS = {
    "model": "model",
    "random weights": "the same, untrained",
    "shuffled": "shuffled phrases",
    "prior": "location prior",
    "finding prior": "location prior of the finding",
    "centre": "centre",
    "chance": "chance",
}


@dataclass(frozen=True, kw_only=True)
class DemoParts:
    """The results that the page shows."""

    probe: ProbeResult
    retrieve: RetrieveResult
    ground: PhraseResult
    run: Path


def write_page(
    parts: DemoParts,
    summary: Sequence[SummaryRow],
    examples: Sequence[Phrase],
    *,
    source: Path,
    device: str,
    on_progress: Callable[[int, int], None],
) -> str:
    """The page as HTML, with one grounded film for each example."""
    blocks: list[Block] = [
        Paragraph(
            "A model was trained from scratch on generated chest studies and tried on studies of other "
            "patients. Intervals are 95 %, by resampling patients."
        ),
        summary_table(summary),
        Heading("Phrases found in films"),
        Paragraph(
            "The first held-out film of each finding, not the best one. Solid boxes are the truth, dashed "
            "ones the model's; the map is the cosine similarity of each region with the phrase."
        ),
        *_example_pictures(parts.run, examples, source=source, device=device, on_progress=on_progress),
        Heading("Training"),
        Drawing(training({"demo": read_log(parts.run / "log.jsonl")}), "Loss and recall while training."),
        Heading("Classification"),
        *(_probe_table(part) for part in parts.probe.methods),
        Heading("Retrieval"),
        _retrieval_table("image to report", parts.retrieve.image_to_text),
        _retrieval_table("report to image", parts.retrieve.text_to_image),
        Heading("Grounding"),
        _grounding_table(parts.ground),
        _finding_table(parts.ground),
        Heading("Make it again"),
        Command("mmil demo"),
    ]
    page = Page(
        "mmil demo", blocks, subtitle="From films and reports to a phrase found in a film", banner=BANNER
    )
    return render(page)


def summary_table(summary: Sequence[SummaryRow]) -> Table:
    """The figures of the demo beside what they have to beat."""
    return Table(
        ("task", "metric", "measured", "to beat", "its value", "difference", "above"),
        [summary_cells(row) for row in summary],
        "Every figure beside what it has to beat, on held-out studies.",
    )


def summary_cells(row: SummaryRow) -> tuple[str, ...]:
    """One line of the summary as text."""
    gap = row.difference
    return (
        row.task,
        row.metric,
        with_interval(row.value.value, row.value.low, row.value.high),
        row.floor_name,
        number(row.floor),
        "" if gap is None else with_interval(gap.value, gap.low, gap.high),
        "yes" if row.is_above else "no",
    )


def film_path(source: Path, phrase: Phrase) -> Path:
    """The DICOM file of a phrase's film in the generated tree."""
    return next(source.glob(f"files/*/*/*/{phrase.image_id}.dcm"))


def first_of_each_category(phrases: Sequence[Phrase], *, split: str) -> tuple[Phrase, ...]:
    """The first phrase of each finding in a split, in the order of the table."""
    first: dict[str, Phrase] = {}
    for phrase in phrases:
        if phrase.split == split:
            first.setdefault(phrase.category, phrase)
    return tuple(first.values())


def _example_pictures(
    run: Path,
    examples: Sequence[Phrase],
    *,
    source: Path,
    device: str,
    on_progress: Callable[[int, int], None],
) -> list[Block]:
    embedder = load_checkpoint(run, device=device).embedder
    pictures: list[Block] = []
    for index, phrase in enumerate(examples):
        pictures.append(
            Picture(_overlay(embedder, phrase, source=source), f"{phrase.category}: {phrase.text}")
        )
        on_progress(index + 1, len(examples))
    return pictures


def _overlay(embedder: Embedder, phrase: Phrase, *, source: Path) -> bytes:
    film = open_film(film_path(source, phrase), embedder)
    (finding,), _ = ground_film(embedder, film, [phrase.text])
    shown = PhraseMap(
        phrase=finding.phrase,
        values=finding.values,
        score=finding.score,
        peak=(finding.peak.x, finding.peak.y) if finding.peak else None,
        boxes=[found.box for found in finding.boxes],
        true_boxes=phrase.boxes,
    )
    return overlay_figure(film.pixels, [shown])


def _probe_table(part: MethodResult) -> Table:
    caption = f"{part.method}; the AUROC of chance is 0.50."
    return Table(PROBE_COLUMNS, probe_rows(part.table), caption)


def _retrieval_table(direction: str, table: RetrievalTable) -> Table:
    rows = [
        (row.name, with_interval(row.measured.value, row.measured.low, row.measured.high), number(row.chance))
        for row in table.rows
    ]
    return Table(
        ("metric", "measured", "by chance"),
        rows,
        f"{direction}: {table.num_queries} queries, {table.num_gallery} in the gallery.",
    )


def _grounding_table(ground: PhraseResult) -> Table:
    rows = []
    for system, name in SYSTEMS.items():
        metrics = ground.tables[system].micro.metrics
        cells = [with_interval(metrics[key].value, metrics[key].low, metrics[key].high) for key in METRICS]
        rows.append((name, *cells))
    caption = (
        f"{ground.num_phrases} phrases in {ground.num_films} films, mean over phrases. The "
        "location prior is where boxes lie in the films trained on; that of the finding is told which "
        "finding to expect. The mIoU of priors and centre stands for nothing."
    )
    return Table(("", *METRICS.values()), rows, caption)


def _finding_table(ground: PhraseResult) -> Table:
    rows: list[tuple[str | int, ...]] = []
    for row in ground.tables["model"].findings:
        cells = [
            with_interval(row.metrics[key].value, row.metrics[key].low, row.metrics[key].high)
            for key in METRICS
        ]
        rows.append((row.name, row.num_samples, *cells))
    return Table(("finding", "phrases", *METRICS.values()), rows, "The model, finding by finding.")
