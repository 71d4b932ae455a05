"""Results as rows of text, the same on the command line and in a page."""

from mmil_cli.metrics.classification import ClassificationTable, FindingRow, MeanRow
from mmil_cli.viz.tables import number, with_interval

PROBE_COLUMNS = ("finding", "pos/neg", "AUROC", "AUPRC", "chance AUPRC")


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
