"""Results as rows of text, the same on the command line and in a page."""

from collections.abc import Sequence

from mmil_cli.metrics.classification import ClassificationTable, FindingRow, MeanRow
from mmil_cli.metrics.decisions import METRICS, DecisionTable
from mmil_cli.metrics.several_classes import ClassTable
from mmil_cli.stages.label_curve import LabelPoint, over_draws
from mmil_cli.viz.tables import number, with_interval

PROBE_COLUMNS = ("finding", "pos/neg", "AUROC", "AUPRC", "chance AUPRC")
DECISION_COLUMNS = ("finding", "F1", "sensitivity", "specificity", "Brier", "ECE")
CLASS_COLUMNS = ("told apart", "films", "AUROC")
POINT_COLUMNS = ("method", "labels", "patients", "draws", "mean AUROC", "mean AUPRC")


def probe_rows(table: ClassificationTable) -> list[tuple[str, ...]]:
    """One row a finding and one for their mean, under `PROBE_COLUMNS`; the AUROC of chance is 0.50."""
    counts = [(row.name, f"{row.num_positive}/{row.num_negative}") for row in table.rows]
    measured: list[FindingRow | MeanRow] = [*table.rows, table.mean]
    names = [*counts, (f"mean of {table.mean.num_findings}", "")]
    return [
        (
            *name,
            with_interval(row.auroc.value, row.auroc.low, row.auroc.high),
            with_interval(row.auprc.value, row.auprc.low, row.auprc.high),
            number(row.prevalence),
        )
        for name, row in zip(names, measured, strict=True)
    ]


def decision_rows(table: DecisionTable) -> list[tuple[str, ...]]:
    """One row a finding and one for their mean, under `DECISION_COLUMNS`."""
    numbers = _range(list(table.num_findings.values()))  # fewer have a threshold than have both classes
    named = [*table.findings.items(), (f"mean of {numbers}", table.mean)]
    return [
        (name, *(with_interval(row[m].value, row[m].low, row[m].high) for m in METRICS))
        for name, row in named
    ]


def class_rows(table: ClassTable) -> list[tuple[str, ...]]:
    """One row a contrast and one for their mean, under `CLASS_COLUMNS`."""
    rows = [
        (
            row.name,
            f"{row.num_low}/{row.num_high}",
            with_interval(row.auroc.value, row.auroc.low, row.auroc.high),
        )
        for row in table.rows
    ]
    return [*rows, ("mean", "", with_interval(table.mean.value, table.mean.low, table.mean.high))]


def point_rows(points: Sequence[LabelPoint]) -> list[tuple[str, ...]]:
    """One row a method and number of labels, under `POINT_COLUMNS`."""
    return [
        (
            str(point.method),
            point.budget,
            _range(point.num_patients),
            str(len(point.seeds)),
            _spread(point.mean_auroc),
            _spread(point.mean_auprc),
        )
        for point in points
    ]


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}-{high}"


def _spread(values: Sequence[float]) -> str:
    found = over_draws(values)
    if found["deviation"] != found["deviation"]:
        return number(found["mean"])
    return f"{number(found['mean'])} ± {number(found['deviation'])}"
