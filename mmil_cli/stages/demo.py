"""The whole way on generated studies, from films and reports to one page of results."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmil_cli.config.load import load_recipe
from mmil_cli.data.phrases import read_phrases
from mmil_cli.files import write_json, write_text
from mmil_cli.phantom.difficulty import Difficulty
from mmil_cli.stages import ground_phrases, phantom, preprocess, pretrain, probe, retrieve
from mmil_cli.stages.demo_page import DemoParts, film_path, first_of_each_category, write_page
from mmil_cli.stages.demo_summary import SummaryRow, summarise
from mmil_cli.stages.policies import Missing

RECIPE = "demo"
SIDE = 192
FILM_SIDE = 512
PHRASE_TABLE = Path("ms-cxr-1.1.0") / "MS_CXR_Local_Alignment_v1.1.0.csv"

Update = Callable[[int, int], None]
OnStage = Callable[[str, str], Update]
"""Told of each stage as it starts and of what it counts; gives what to call with (done, total)."""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo came to.

    Attributes:
        summary: the figures, each beside what it has to beat.
        page: the HTML page.
        example: a film and a phrase to ground next.
        run: the run folder of the model.
    """

    summary: tuple[SummaryRow, ...]
    page: Path
    example: tuple[Path, str]
    run: Path


def run(out: Path, *, studies: int, seed: int, device: str = "auto", on_stage: OnStage) -> DemoResult:
    """Generates studies, learns from them and shows what was learned; every stage that is done is not redone.

    Args:
        out: folder for studies/, dataset/, run/, results/ and index.html.
        studies: how many to generate; about seven tenths are trained on.
        seed: of the studies and of the run.
        device: auto, cpu or cuda.
        on_stage: watches.

    Raises:
        DataError: the folder holds a demo of other options.
    """
    source, data, folder, results = out / "studies", out / "dataset", out / "run", out / "results"
    recipe = load_recipe(RECIPE, overrides=[f"run.seed={seed}"])
    phantom.run(
        source,
        studies=studies,
        seed=seed,
        difficulty=Difficulty.EASY,
        side=FILM_SIDE,
        on_progress=on_stage("phantom", "studies"),
    )
    on_film = on_stage("preprocess", "films")
    preprocess.run(source, data, side=SIDE, on_progress=lambda done, total, _: on_film(done, total))
    step = on_stage("pretrain", "steps")
    watchers = pretrain.Watchers(on_step=lambda progress: step(progress.step, progress.num_steps))
    trained = pretrain.run(data, folder, recipe=recipe, device=device, watchers=watchers)
    probed = probe.run(
        data,
        checkpoint=folder,
        out=results / "probe",
        missing=Missing.NEGATIVE,
        seed=seed,
        device=device,
        on_progress=on_stage("probe", "films"),
    )
    retrieved = retrieve.run(
        data,
        checkpoint=folder,
        out=results / "retrieve",
        seed=seed,
        device=device,
        on_progress=on_stage("retrieve", "films"),
    )
    grounded = ground_phrases.run(
        source / PHRASE_TABLE,
        data,
        checkpoint=folder,
        out=results / "ground",
        seed=seed,
        device=device,
        on_progress=on_stage("ground", "films"),
    )
    summary = summarise(probed, retrieved, grounded)
    write_json(out / "summary.json", [_summary_record(row) for row in summary])
    examples = first_of_each_category(read_phrases(source / PHRASE_TABLE), split="test")
    page = write_page(
        DemoParts(probe=probed, retrieve=retrieved, ground=grounded, run=folder),
        summary,
        examples,
        source=source,
        device=device,
        on_progress=on_stage("page", "films"),
    )
    write_text(out / "index.html", page)
    return DemoResult(
        summary=summary,
        page=out / "index.html",
        example=(film_path(source, examples[0]), examples[0].text),
        run=trained.checkpoint.parent,
    )


def _summary_record(row: SummaryRow) -> dict[str, Any]:
    return {**dataclasses.asdict(row), "is_above": row.is_above}
