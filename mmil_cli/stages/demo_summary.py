"""The figures of the demo in one table: each beside the level that it has to beat, and whether it does."""

import math
from dataclasses import dataclass

from mmil_cli.metrics.intervals import Interval
from mmil_cli.metrics.retrieval import RetrievalTable
from mmil_cli.stages.ground_phrases import PhraseResult
from mmil_cli.stages.probe import ProbeResult
from mmil_cli.stages.retrieve import RetrieveResult

RECALL = "R@5"
GROUNDING = {"pointing": "pointing game", "cnr": "CNR", "pixel_auroc": "pixel AUROC"}
# Over findings, as the figures published for MS-CXR are: a mean over phrases would mostly tell of the
# commonest finding, the heart, whose place is the same in every film.
CONTROLS = {"shuffled": "shuffled phrases", "prior": "location prior"}


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """One figure and what it has to beat.

    Attributes:
        task: what was done.
        metric: the figure.
        value: measured, with a 95 % interval by patient.
        floor_name: what has to be beaten.
        floor: its value; of a control, its mean over the same samples.
        difference: measured less the control, paired; None where the floor is a fixed level.
    """

    task: str
    metric: str
    value: Interval
    floor_name: str
    floor: float
    difference: Interval | None = None

    @property
    def is_above(self) -> bool:
        """Whether it lies above the floor by more than its interval."""
        low = self.value.low - self.floor if self.difference is None else self.difference.low
        return not math.isnan(low) and low > 0


def summarise(probe: ProbeResult, retrieve: RetrieveResult, ground: PhraseResult) -> tuple[SummaryRow, ...]:
    """The rows of the table, in the order of the stages."""
    return (
        *_probe_rows(probe),
        _recall_row("image to report", retrieve.image_to_text),
        _recall_row("report to image", retrieve.text_to_image),
        *(
            _ground_row(ground, metric, name, control)
            for metric, name in GROUNDING.items()
            for control in CONTROLS
        ),
    )


def _probe_rows(probe: ProbeResult) -> list[SummaryRow]:
    return [
        SummaryRow(
            task=f"{part.method} classification",
            metric=f"mean AUROC of {part.table.mean.num_findings} findings",
            value=part.table.mean.auroc,
            floor_name="chance",
            floor=0.5,
        )
        for part in probe.methods
    ]


def _recall_row(task: str, table: RetrievalTable) -> SummaryRow:
    row = next(row for row in table.rows if row.name == RECALL)
    return SummaryRow(
        task=f"{task}, {table.num_gallery} in the gallery",
        metric=RECALL,
        value=row.measured,
        floor_name="chance",
        floor=row.chance,
    )


def _ground_row(ground: PhraseResult, metric: str, name: str, control: str) -> SummaryRow:
    num_findings = len(ground.tables["model"].findings)
    return SummaryRow(
        task=f"grounding, {ground.num_phrases} phrases, mean of {num_findings} findings",
        metric=name,
        value=ground.tables["model"].macro.metrics[metric],
        floor_name=CONTROLS[control],
        floor=ground.tables[control].macro.metrics[metric].value,
        difference=ground.differences[control].macro.metrics[metric],
    )
