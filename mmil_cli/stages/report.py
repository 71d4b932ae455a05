"""Report: one page on one or several runs, from what they and the evaluations of them have written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import DataError, UsageError
from mmil_cli.files import write_text
from mmil_cli.stages.evaluation import OnProgress
from mmil_cli.stages.report_commands import commands
from mmil_cli.stages.report_curve import compare_blocks
from mmil_cli.stages.report_records import TASKS, Record, Run, read_runs
from mmil_cli.stages.report_tables import ground_blocks, probe_blocks, retrieval_blocks
from mmil_cli.viz.drawings import training
from mmil_cli.viz.overlay import DISCLAIMER
from mmil_cli.viz.page import Block, Command, Drawing, Heading, Page, Paragraph, Table, render

SECTIONS: Mapping[str, tuple[str, Callable[[Mapping[str, Record]], Iterator[Block]]]] = {
    "probe": ("Classification", probe_blocks),
    "retrieve": ("Retrieval", retrieval_blocks),
    "ground": ("Grounding", ground_blocks),
}
MAKES = {"probe": "mmil probe", "retrieve": "mmil retrieve", "ground": "mmil ground --phrases"}


@dataclass(frozen=True, kw_only=True)
class ReportResult:
    """What was written.

    Attributes:
        page: the HTML file.
        num_records: that it shows.
        notes: what the reader must know.
    """

    page: Path
    num_records: int
    notes: tuple[str, ...]


def run(
    runs: Sequence[Path],
    out: Path,
    *,
    results: Sequence[Path] = (),
    data: Path | None = None,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> ReportResult:
    """Writes the page. A result belongs to a run if its provenance names that very checkpoint.

    Args:
        runs: run or checkpoint folders, side by side in the page.
        out: the HTML file.
        results: folders with results, searched with what is below them, as the runs' own folders are.
        data: dataset folder to show films of; None shows none, and says so.
        device: of the models that look for phrases in films.
        on_progress: told of films.

    Raises:
        UsageError: a folder is no run, or no folder, or `out` is one.
        DataError: a record is damaged, or the dataset is none.
    """
    if not runs:
        raise UsageError("give one or more runs, such as: mmil report runs/first")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; give the name of the page, such as {out / 'report.html'}")
    found, foreign = read_runs(runs, results)
    dataset = None if data is None else StudyDataset.open(data)
    notes = [*foreign, *_missing(found), *_notes(found)]
    blocks: list[Block] = [_overview(found), *_said(notes), Heading("Training"), *_training(found)]
    for task, (title, _) in SECTIONS.items():
        blocks += [Heading(title), *_results(found, task)]
    compared = list(compare_blocks([*runs, *results]))
    blocks += [Heading("Compared"), *compared] if compared else []
    blocks += _films(found, data, device=device, on_progress=on_progress)
    blocks += [Heading("Recipe"), *_recipes(found), Heading("Data"), *_data(found, dataset)]
    blocks += [Heading("Make it again"), *(Command(line) for line in commands(found))]
    title = found[0].name if len(found) == 1 else " · ".join(each.name for each in found)
    write_text(out, render(Page(title, blocks, subtitle=f"mmil report. {DISCLAIMER}")))
    return ReportResult(page=out, num_records=sum(len(each.records) for each in found), notes=tuple(notes))


def _overview(runs: Sequence[Run]) -> Table:
    rows = [
        (
            each.name,
            str(_recipe(each)["score"]["expression"]),
            str(each.checkpoint.card.step),
            str(each.checkpoint.card.seed),
            ", ".join(task for task in TASKS if each.of(task)) or "none",
        )
        for each in runs
    ]
    return Table(("run", "score", "steps", "seed", "results"), rows)


def _said(notes: Sequence[str]) -> list[Block]:
    return [Paragraph(f"Note: {note}.") for note in notes]


def _missing(runs: Sequence[Run]) -> Iterator[str]:
    """What each run has no results of."""
    for each in runs:
        if not each.log:
            yield f"{each.name} has no log.jsonl, so no training curves"
        for task in TASKS:
            if not each.of(task):
                yield f"{each.name} has no {task}.json among the folders searched; {MAKES[task]} makes one"


def _notes(runs: Sequence[Run]) -> Iterator[str]:
    """What the records themselves say that a reader must know."""
    for each in runs:
        for record in each.records:
            for note in record.content.get("notes", ()):
                yield f"{each.name}, {record.task}: {note}"


def _training(runs: Sequence[Run]) -> list[Block]:
    svg = training({each.name: each.log for each in runs})
    if not svg:
        return [Paragraph("None of the runs has a log.")]
    return [Drawing(svg, "Loss, and recall at 5 on held-out films, over the steps of training.")]


def _results(runs: Sequence[Run], task: str) -> Iterator[Block]:
    """The records of a task, those on the same films side by side."""
    groups: dict[tuple[tuple[str, str, str], int], dict[str, Record]] = {}
    for each in runs:
        seen: dict[tuple[str, str, str], count[int]] = {}
        for record in each.of(task):
            number = next(seen.setdefault(record.scored, count()))
            groups.setdefault((record.scored, number), {})[each.name] = record
    if not groups:
        yield Paragraph("Not measured.")
    for ((content_hash, folder, split), _), records in groups.items():
        absent = [each.name for each in runs if each.name not in records]
        without = f" Not measured: {', '.join(absent)}." if absent else ""
        yield Paragraph(f"On the {split} films of {folder} ({content_hash[:16]}).{without}")
        yield from _blocks_of(task, records)


def _blocks_of(task: str, records: Mapping[str, Record]) -> list[Block]:
    try:
        return list(SECTIONS[task][1](records))
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        paths = " or ".join(str(record.path) for record in records.values())
        raise DataError(
            f"{paths} is no record of this version of mmil ({error!r}); run mmil {task} again"
        ) from error


def _films(
    runs: Sequence[Run], data: Path | None, *, device: str, on_progress: OnProgress | None
) -> list[Block]:
    title = Heading("Phrases in films")
    if data is None:
        return [title, Paragraph("Not shown: films are shown of the dataset that --data names.")]
    from mmil_cli.stages.report_films import film_blocks

    grounded, sheets = film_blocks(runs, data, device=device, on_progress=on_progress)
    about = (
        "Films of different patients, evenly spaced among those that were not trained on, not chosen by what "
        "the model makes of them; sentences of their own reports, and one of another patient's. Whether one "
        "is likely is read off its score, as in mmil view; boxes are the model's own, around what stands out "
        "of the map, of phrases that it does not call unlikely."
    )
    found = Paragraph("Whole reports, and the films that fit them best by the model's score.")
    return [title, Paragraph(about), *grounded, Heading("Reports and the films found"), found, *sheets]


def _recipes(runs: Sequence[Run]) -> Iterator[Block]:
    """What differs, where there are several, and each in full."""
    trees = {each.name: dict(_flat(_recipe(each))) for each in runs}
    keys = list(dict.fromkeys(key for tree in trees.values() for key in tree))
    differing = [key for key in keys if len({tree.get(key, "") for tree in trees.values()}) > 1]
    if len(runs) > 1:
        rows = [(key, *(tree.get(key, "") for tree in trees.values())) for key in differing]
        yield Table(
            ("key", *trees), rows, "Where the recipes differ." if rows else "The recipes are the same."
        )
    for each in runs:
        if len(runs) > 1:
            yield Heading(f"Recipe of {each.name}", 3)
        yield Command(each.checkpoint.recipe.strip())


def _recipe(each: Run) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(each.checkpoint.recipe)
        str(tree["score"]["expression"])
    except (yaml.YAMLError, TypeError, KeyError) as error:
        path = each.checkpoint.folder / "recipe.yaml"
        raise DataError(f"{path} is no recipe of this version of mmil; copy the run again") from error
    assert isinstance(tree, dict)
    return tree


def _flat(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", str(value)


def _data(runs: Sequence[Run], dataset: StudyDataset | None) -> Iterator[Block]:
    """Which data each run learned from, by the hash of its content; and of the films shown."""
    rows = [
        (each.name, each.checkpoint.card.dataset_hash, each.checkpoint.card.commit or "not known")
        for each in runs
    ]
    yield Table(("run", "content hash of the data trained on", "commit"), rows)
    if dataset is not None:
        counts = ", ".join(f"{each.images} {name}" for name, each in dataset.info.counts.items())
        yield Paragraph(f"Films shown: {dataset.folder.name}, {dataset.info.content_hash}; films: {counts}.")
    versions = {
        f"{name} {version}" for each in runs for name, version in each.checkpoint.card.versions.items()
    }
    yield Paragraph(f"Trained with {', '.join(sorted(versions))}.")
