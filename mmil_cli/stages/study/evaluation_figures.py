"""The results of probe, retrieve and ground as figures of a cell."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.metrics.ranks import AVERAGE_PRECISION
from mmil_cli.metrics.retrieval import RetrievalTable
from mmil_cli.stages.cases import Cases, read_cases
from mmil_cli.stages.ground_phrases import PhraseResult
from mmil_cli.stages.phrase_scores import CHANCE, MODEL
from mmil_cli.stages.probe_record import CASES_NAME
from mmil_cli.stages.retrieve import RetrieveResult
from mmil_cli.stages.study.figures import Figure, auroc_figure, mean_figure, mean_of_figures
from mmil_cli.stages.study.kinds import Metric, StudyData

DIRECTIONS = {"image_to_text": "image to report", "text_to_image": "report to image"}
RETRIEVED = {"R@1": "R@1", "R@5": "R@5", "R@10": "R@10", AVERAGE_PRECISION: "mAP"}
"""Figures of a query, with what their mean is called."""

GROUNDED = {
    "pointing": "pointing game",
    "cnr_signed": "CNR",
    "pixel_auroc": "pixel AUROC",
    "miou_calibrated": "mIoU, calibrated",
}
RETRIEVE_METRICS = {
    f"retrieve/{direction}/{title}": Metric(title=f"{title}, {words}")
    for direction, words in DIRECTIONS.items()
    for title in RETRIEVED.values()
}
GROUND_METRICS = {f"ground/{name}": Metric(title=title) for name, title in GROUNDED.items()}


def probe_figures(results: Path, methods: Sequence[str], data: StudyData) -> Iterator[Figure]:
    """AUROC of each finding and their mean, by method."""
    dataset = StudyDataset.open(data.folder)
    patients = dataset.column("patient_id")[dataset.indices(data.split)]
    cases = read_cases(results / CASES_NAME)
    for method in methods:
        metric = f"probe/{method}/auroc"
        found = [part for (name, _), part in cases.items() if name == method]
        yield from auroc_figures(metric, found, patients)


def auroc_figures(metric: str, found: Iterable[Cases], patients: np.ndarray) -> Iterator[Figure]:
    """AUROC of each finding, and the mean of those that are defined.

    Args:
        metric: its name.
        found: labels and scores of each finding.
        patients: all that were scored.
    """
    figures = []
    for part in found:
        assert part.label is not None
        figures.append(
            auroc_figure(
                metric, part.label, part.value, groups=part.patient_id, among=patients, finding=part.name
            )
        )
    yield from figures
    yield mean_of_figures(metric, figures)


def retrieve_figures(result: RetrieveResult) -> Iterator[Figure]:
    """Recall and mAP in both directions, a match being of the study or of the same words."""
    cases = read_cases(result.cases)
    tables: dict[str, RetrievalTable] = {
        "image_to_text": result.image_to_text,
        "text_to_image": result.text_to_image,
    }
    for direction, table in tables.items():
        chances = {row.name: row.chance for row in table.rows}
        for name, title in RETRIEVED.items():
            part = cases[direction, name]
            yield mean_figure(
                f"retrieve/{direction}/{title}",
                part.value,
                groups=part.patient_id,
                chance=chances[title],
            )


def ground_figures(result: PhraseResult) -> Iterator[Figure]:
    """Means over phrases of each finding, and the mean of these."""
    categories = categories_of(result.samples)
    cases = read_cases(result.cases)
    chance = result.tables[CHANCE].macro.metrics
    for name in GROUNDED:
        part = cases[MODEL, name]
        yield from of_findings(
            f"ground/{name}",
            part.value,
            findings=categories,
            groups=part.patient_id,
            chance=chance[name].value,
        )


def of_findings(
    metric: str, values: np.ndarray, *, findings: np.ndarray, groups: np.ndarray, chance: float
) -> Iterator[Figure]:
    """The mean over the cases of each finding, and the mean of these means.

    Args:
        metric: its name.
        values: of each case [n].
        findings: of each case [n].
        groups: the patient of each [n].
        chance: of the mean.
    """
    parts = []
    for finding in sorted(set(findings.tolist())):
        of = findings == finding
        parts.append(
            mean_figure(
                metric, values[of], groups=groups[of], among=groups, finding=str(finding), chance=chance
            )
        )
    yield from parts
    yield mean_of_figures(metric, parts)


def categories_of(samples: Path) -> np.ndarray:
    """The finding of each phrase of a grounding, in its order."""
    with samples.open(encoding="utf-8", newline="") as file:
        return np.array([row["category"] for row in csv.DictReader(file)])
