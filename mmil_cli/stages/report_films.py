"""What a report shows of films: phrases over them with sliders, and what reports find among them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmil_cli.core.bags import SentenceBag
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import shortened
from mmil_cli.stages.evaluation import OnProgress, open_evaluation
from mmil_cli.stages.report_records import Run
from mmil_cli.stages.view_server import as_png
from mmil_cli.stages.viewer import Verdict, Viewer, evenly
from mmil_cli.viz.grounded import FilmPhrase, GroundedFilm
from mmil_cli.viz.page import Block, Heading, Paragraph, Picture
from mmil_cli.viz.sheet import film_row

NUM_FILMS, NUM_PHRASES = 4, 5
"""Films of a run's panel, and phrases of each."""

NUM_QUERIES, NUM_HITS, NUM_GALLERY = 3, 5, 300
"""Reports that ask, films that they find, and films, at most, that they are sought among."""

PREFERRED = ("test", "validate")
"""Splits whose films are shown, the first that there is; else all."""


def film_blocks(
    runs: Sequence[Run], data: Path, *, device: str, on_progress: OnProgress | None
) -> tuple[list[Block], list[Block]]:
    """Grounded films, and retrieval sheets, of each run on a dataset.

    Raises:
        DataError: there is no dataset folder.
    """
    grounded: list[Block] = []
    sheets: list[Block] = []
    for number, run in enumerate(runs):
        viewer = Viewer(open_evaluation(data, checkpoint=run.folder, device=device), on_progress=on_progress)
        heading = [Heading(run.name, 3)] if len(runs) > 1 else []
        rows = _rows(viewer.dataset)
        grounded += [*heading, *_panels(viewer, rows, name=f"run{number}")]
        sheets += [*heading, *_sheets(viewer, rows)]
    return grounded, sheets


def _rows(dataset: StudyDataset) -> list[int]:
    """The films to choose from: held-out ones, where there are any."""
    split = next((name for name in PREFERRED if name in dataset.splits), None)
    return [int(row) for row in dataset.indices(split)]


def _panels(viewer: Viewer, rows: Sequence[int], *, name: str) -> list[Block]:
    """Films of different patients, each with the sentences of its own report and one of another's."""
    told = {viewer.row(row).patient_id: row for row in reversed(rows) if viewer.row(row).sentences}
    chosen = evenly(list(reversed(told.values())), NUM_FILMS)
    panels: list[Block] = []
    for number, row in enumerate(chosen):
        about = viewer.row(row)
        other = viewer.row(chosen[(number + 1) % len(chosen)]).sentences
        foreign = next((text for text in other if text not in about.sentences), None)
        own = list(dict.fromkeys(about.sentences))[: NUM_PHRASES - 1]
        phrases = [_phrase(viewer, row, text, "its own report") for text in own if _has_words(text)]
        if foreign is not None and _has_words(foreign):
            phrases.append(_phrase(viewer, row, foreign, "another patient's report"))
        if not phrases:
            continue
        panels.append(
            GroundedFilm(
                name=f"{name}-film{number}",
                png=as_png(viewer.dataset.pixels(row)),
                width=about.width,
                height=about.height,
                phrases=phrases,
                caption=", ".join(filter(None, (f"film {about.image_id}", about.view, about.split))),
                low=viewer.low,
                high=viewer.high,
            )
        )
    return panels or [Paragraph("No film of this dataset has a report: no phrases to show.")]


def _has_words(text: str) -> bool:
    from mmil_cli.data.sentences import has_words

    return has_words(text)


def _phrase(viewer: Viewer, row: int, text: str, whose: str) -> FilmPhrase:
    answer = viewer.ask(row, text)
    boxes = () if answer.verdict is Verdict.UNLIKELY else answer.boxes
    return FilmPhrase(text, f"{answer.verdict}, score {answer.score:.2f}, of {whose}", answer.map, boxes)


def _sheets(viewer: Viewer, rows: Sequence[int]) -> list[Block]:
    """For some reports, the films that score highest, and the place of the first of their own study."""
    dataset, embedder = viewer.dataset, viewer.embedder
    gallery = evenly(list(rows), NUM_GALLERY)
    asking = evenly([row for row in gallery if dataset.row(row).sentences], NUM_QUERIES)
    if not asking:
        return [Paragraph("No film of this dataset has a report: no retrieval to show.")]
    reports: SentenceBag = embedder.reports([dataset.row(row).sentences for row in asking])
    scores = embedder.logits(embedder.dataset(dataset, gallery).regions, reports).numpy().T
    blocks: list[Block] = []
    for row, found in zip(asking, scores, strict=True):
        order = np.argsort(-found, kind="stable")
        own = [dataset.row(gallery[place]).study_id == dataset.row(row).study_id for place in order]
        shown = [gallery[place] for place in order[:NUM_HITS]]
        names = [
            f"{number}. {found[place]:.2f}{', its own' if own[number - 1] else ''}"
            for number, place in enumerate(order[:NUM_HITS], start=1)
        ]
        blocks += [
            Paragraph(f"“{shortened(' '.join(dataset.row(row).sentences), 400)}”"),
            Picture(
                film_row([dataset.pixels(hit) for hit in shown], names),
                f"The {len(shown)} highest of {len(gallery)} films; the first of the report's own study "
                f"stands at place {own.index(True) + 1}.",
            ),
        ]
    return blocks
