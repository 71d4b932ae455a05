"""Retrieve: how well films find reports and reports films, and each their own kind."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmil_cli.files import make_folder, write_json
from mmil_cli.metrics.label_retrieval import LabelTable
from mmil_cli.metrics.ranks import MatchRanks, query_figures
from mmil_cli.metrics.retrieval import RetrievalTable, rank_table
from mmil_cli.stages.cases import Cases, write_cases
from mmil_cli.stages.evaluation import Evaluation, OnProgress, open_evaluation
from mmil_cli.stages.region_store import fill_store
from mmil_cli.stages.retrieve_sides import VARIANTS, WORDS, Side, split_sides
from mmil_cli.stages.retrieve_tables import (
    KS,
    Counted,
    films_to_films,
    films_to_reports,
    reports_to_films,
    reports_to_reports,
)
from mmil_cli.stages.score_table import ScoreTable

FILE_NAME, CASES_NAME = "retrieve.json", "retrieve_cases.parquet"
DIRECTIONS = {
    "image_to_text": "films as queries, reports as gallery",
    "text_to_image": "reports as queries, films as gallery",
    "image_to_image": "films as queries, all other films as gallery; a match is another film of the study",
    "text_to_text": "impressions as queries, findings as gallery; a match is of the study or of equal words",
}


@dataclass(frozen=True, kw_only=True)
class RetrieveResult:
    """Retrieval on a split.

    Attributes:
        image_to_text: films as queries, the split's reports as gallery; a match is a report of the film's own
            study, or one of identical words.
        text_to_image: the reports as queries, the films as gallery.
        image_to_image: films among films of other images of their study, by the cosine of film vectors; None
            where no study has two films.
        text_to_text: impressions among findings, by the cosine of mean sentence vectors; None where no report
            has both.
        variants: the first two in each way of counting (`VARIANTS`), by variant and direction.
        by_label: P@k and mAP by finding, by direction; without the query's own patient.
        notes: what the reader must know.
        provenance: what the figures depend on.
        record: the JSON file that holds all of this.
        cases: the figures of each query, a file that `mmil compare` reads.
    """

    image_to_text: RetrievalTable
    text_to_image: RetrievalTable
    image_to_image: RetrievalTable | None
    text_to_text: RetrievalTable | None
    variants: Mapping[str, Mapping[str, RetrievalTable]]
    by_label: Mapping[str, LabelTable]
    notes: tuple[str, ...]
    provenance: Mapping[str, Any]
    record: Path
    cases: Path


def run(
    data: Path,
    *,
    checkpoint: Path,
    out: Path,
    split: str | None = "test",
    seed: int = 0,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> RetrieveResult:
    """Ranks, recalls and precisions in four directions, with chance and bootstrap intervals by patient.

    Films and reports are compared by the model's score. Films with films and reports with reports have none:
    they are compared by the cosine of their mean vectors [ours].

    Args:
        data: dataset folder.
        checkpoint: checkpoint or run folder.
        out: folder for `retrieve.json` and `retrieve_cases.parquet`.
        split: whose films and reports are queries and gallery; None for all.
        seed: of the bootstrap.
        device: auto, cpu or cuda.
        on_progress: told of films.

    Raises:
        UsageError: there is no such split, or the dataset has no reports.
    """
    evaluation = open_evaluation(data, checkpoint=checkpoint, device=device)
    evaluation.dataset.require_reports()
    evaluation.dataset.indices(split)
    make_folder(out)
    counted = _count(evaluation, out, split=split, on_progress=on_progress)
    tables = {name: _tables(found, seed=seed) for name, found in counted.items()}
    labels = {name: found.labels.table(seed=seed) for name, found in counted.items() if found.labels}
    result = RetrieveResult(
        **{name: tables[name].get(WORDS) for name in DIRECTIONS},  # type: ignore[arg-type]
        variants={
            variant: {name: tables[name][variant] for name in ("image_to_text", "text_to_image")}
            for variant in VARIANTS
        },
        by_label={name: table for name, table in labels.items() if table},
        notes=evaluation.notes(split),
        provenance=evaluation.provenance(split=split, seed=seed, options={}),
        record=out / FILE_NAME,
        cases=out / CASES_NAME,
    )
    write_cases(result.cases, _cases(counted))
    write_json(result.record, _as_json(result))
    return result


def _count(
    evaluation: Evaluation, out: Path, *, split: str | None, on_progress: OnProgress | None
) -> dict[str, Counted]:
    """By direction. Regions of all films lie in a passing folder in `out`, not in memory."""
    dataset = evaluation.dataset
    rows = dataset.indices(split)
    sides = split_sides(dataset, rows, ordered=evaluation.embedder.unit != "sentence")
    with tempfile.TemporaryDirectory(prefix=".regions-", dir=out) as folder:
        store = fill_store(Path(folder), evaluation, rows, on_progress=on_progress)
        table = ScoreTable(evaluation.embedder, store, sides.distinct)
        return {
            "image_to_text": films_to_reports(table, sides, dataset),
            "text_to_image": reports_to_films(table, sides, dataset),
            "image_to_image": films_to_films(store.vectors, sides.films[WORDS], dataset),
            "text_to_text": reports_to_reports(table.scorer, sides, dataset),
        }


def _tables(counted: Counted, *, seed: int) -> dict[str, RetrievalTable]:
    return {
        variant: rank_table(ranks, groups=counted.queries[variant].patients, ks=KS, seed=seed)
        for variant, ranks in counted.ranks.items()
    }


def _cases(counted: Mapping[str, Counted]) -> Iterator[Cases]:
    """Each figure of each query; parts are `image_to_text`, `image_to_text/strict`, `image_to_text/label`."""
    for direction, found in counted.items():
        for variant, ranks in found.ranks.items():
            part = direction if variant == WORDS else f"{direction}/{variant}"
            yield from _rank_cases(part, found.queries[variant], ranks)
        for finding, cases in (found.labels.cases() if found.labels else {}).items():
            assert found.labels is not None
            asked = found.label_queries
            for number, name in enumerate(found.labels.columns):
                yield Cases(
                    part=f"{direction}/label",
                    name=f"{finding} {name}",
                    case_id=asked.ids[cases.queries],
                    patient_id=asked.patients[cases.queries],
                    label=None,
                    value=cases.figures[:, number],
                )


def _rank_cases(part: str, queries: Side, ranks: MatchRanks) -> Iterator[Cases]:
    for name, values in query_figures(ranks, ks=KS).items():
        yield Cases(
            part=part, name=name, case_id=queries.ids, patient_id=queries.patients, label=None, value=values
        )


def _as_json(result: RetrieveResult) -> dict[str, Any]:
    content = asdict(result)
    del content["record"], content["cases"]
    return {
        "match": "same study, or identical words",
        "directions": DIRECTIONS,
        "ways_of_counting": VARIANTS,
        **content,
    }
