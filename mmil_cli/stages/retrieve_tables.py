"""Ranks and labels counted over blocks of scores, in both directions and within films and reports."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.metrics.label_retrieval import LabelCounter, LabelSide
from mmil_cli.metrics.matching import Matcher
from mmil_cli.metrics.ranks import MatchRanks, join_ranks, query_blocks, ranks_of, vector_ranks
from mmil_cli.stages.gallery import ReportScorer, numbers
from mmil_cli.stages.retrieve_sides import VARIANTS, WORDS, Side, Sides, section_halves
from mmil_cli.stages.score_table import ScoreTable

KS = (1, 5, 10, 50)


@dataclass(frozen=True, eq=False)
class Counted:
    """Of one direction: ranks by variant with who asked, and the labels of what was found.

    Attributes:
        queries: by variant.
        ranks: by variant.
        labels: None where the dataset has no labels.
        label_queries: who asked for labels.
    """

    queries: dict[str, Side]
    ranks: dict[str, MatchRanks]
    labels: LabelCounter | None
    label_queries: Side


def films_to_reports(table: ScoreTable, sides: Sides, dataset: StudyDataset) -> Counted:
    """Films as queries."""
    matchers = {name: sides.films[name].matcher(sides.reports[name]) for name in VARIANTS}
    labels = _counter(dataset, sides.films[WORDS], sides.reports[WORDS])
    ranks: dict[str, list[MatchRanks]] = {name: [] for name in VARIANTS}
    for block, scores in table.films():
        for name in VARIANTS:
            ranks[name].append(ranks_of(scores[:, sides.reports[name].place], matchers[name].of(block)))
        if labels:
            labels.add(np.arange(block.start, block.stop), scores[:, sides.reports[WORDS].place])
    joined = {name: join_ranks(parts) for name, parts in ranks.items()}
    return Counted(sides.films, joined, labels, sides.films[WORDS])


def reports_to_films(table: ScoreTable, sides: Sides, dataset: StudyDataset) -> Counted:
    """Reports as queries, in the order in which they stand in the table."""
    order = {name: np.argsort(side.place, kind="stable") for name, side in sides.reports.items()}
    matchers = {name: sides.reports[name].matcher(sides.films[name]) for name in VARIANTS}
    labels = _counter(dataset, sides.reports[WORDS], sides.films[WORDS])
    ranks: dict[str, list[MatchRanks]] = {name: [] for name in VARIANTS}
    for block, scores in table.reports():
        for name in VARIANTS:
            place = sides.reports[name].place[order[name]]
            inside = order[name][np.searchsorted(place, block.start) : np.searchsorted(place, block.stop)]
            asked = scores[sides.reports[name].place[inside] - block.start]
            ranks[name].append(ranks_of(asked, matchers[name].of(inside)))
            if labels and name == WORDS:
                labels.add(inside, asked)
    joined = {name: _in_order(join_ranks(parts), order[name]) for name, parts in ranks.items()}
    return Counted(sides.reports, joined, labels, sides.reports[WORDS])


def films_to_films(vectors: np.ndarray, films: Side, dataset: StudyDataset) -> Counted:
    """Films as queries among all other films; a match is another film of the study."""
    study = numbers(dataset, "study_id")[films.rows]
    ranks = vector_ranks(vectors, vectors, Matcher([(study, study)], itself=np.arange(len(films))))
    labels = _label_vectors(vectors, films, dataset)
    return Counted({WORDS: films}, {WORDS: ranks} if ranks.num_matches.any() else {}, labels, films)


def reports_to_reports(scorer: ReportScorer, sides: Sides, dataset: StudyDataset) -> Counted:
    """Impressions as queries among findings, of studies that have both; labels among whole reports."""
    reports = sides.reports[WORDS]
    labels = _label_vectors(_unit(scorer.vectors())[reports.place], reports, dataset)
    rows, impressions, findings = section_halves(dataset, reports.rows)
    if not len(rows):
        return Counted({}, {}, labels, reports)
    asked, items = (_unit(ReportScorer(scorer.embedder, part).vectors()) for part in (impressions, findings))
    texts = _numbered(findings)
    ranks = vector_ranks(asked, items, Matcher([(np.arange(len(rows)),) * 2, (texts, texts)]))
    chosen = np.searchsorted(np.sort(reports.rows), rows)
    place = np.argsort(reports.rows)[chosen]
    queries = Side(rows, place, reports.ids[place], reports.patients[place], {})
    return Counted({WORDS: queries}, {WORDS: ranks}, labels, reports)


def _label_vectors(vectors: np.ndarray, side: Side, dataset: StudyDataset) -> LabelCounter | None:
    labels = _counter(dataset, side, side)
    for block in query_blocks(len(vectors), len(vectors)) if labels else ():
        assert labels is not None
        labels.add(np.arange(block.start, block.stop), vectors[block] @ vectors.T)
    return labels


def _counter(dataset: StudyDataset, queries: Side, gallery: Side) -> LabelCounter | None:
    if not dataset.label_names:
        return None
    labels = dataset.labels()
    patients = numbers(dataset, "patient_id")
    asking, found = (LabelSide(labels[side.rows], patients[side.rows]) for side in (queries, gallery))
    return LabelCounter(dataset.label_names, asking, found, ks=KS)


def _in_order(ranks: MatchRanks, order: np.ndarray) -> MatchRanks:
    """Ranks of queries that were asked in an order, in that of their side."""
    back = np.argsort(order, kind="stable")
    return replace(
        ranks,
        num_above=ranks.num_above[back],
        num_tied=ranks.num_tied[back],
        num_tied_matches=ranks.num_tied_matches[back],
        num_matches=ranks.num_matches[back],
        average_precision=ranks.average_precision[back],
    )


def _numbered(texts: Sequence[Sequence[str]]) -> np.ndarray:
    number = {form: place for place, form in enumerate(dict.fromkeys(map(tuple, texts)))}
    return np.array([number[tuple(text)] for text in texts], np.int64)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
