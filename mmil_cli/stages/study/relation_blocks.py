"""Relations of a study on its page: a table for each performance, a row for each property and condition."""

from collections.abc import Iterator, Mapping, Sequence

from mmil_cli.stages.study.kinds import Metric
from mmil_cli.stages.study.relations import RelationRow
from mmil_cli.viz.page import Block, Heading, Paragraph, Table
from mmil_cli.viz.tables import UNDEFINED, with_interval

WORDS = (
    "Spearman's rank correlation over the arms, floors left out, between what a trained arm is like and how "
    "good it is, with its 95 % interval, as if the arms were drawn from more of their like. A star marks a p "
    "below 0.05 after Holm's correction over all relations of this data."
)
DECIDED = 0.05


def relation_blocks(
    related: Sequence[RelationRow], *, metrics: Mapping[str, Metric], where: str
) -> Iterator[Block]:
    """Heading, words and tables; nothing where there is no relation.

    Args:
        related: on one data.
        metrics: of the study, by name.
        where: what the data is.
    """
    if not related:
        return
    yield Heading(f"Which property goes with which performance: {where}")
    yield Paragraph(WORDS)
    qualities = list(dict.fromkeys(row.quality for row in related))
    for performance in dict.fromkeys(row.performance for row in related):
        found = {(row.condition, row.quality): row for row in related if row.performance == performance}
        rows = [
            (condition, *(_cell(found.get((condition, quality))) for quality in qualities))
            for condition in dict.fromkeys(row.condition for row in related)
        ]
        yield Heading(metrics[performance].title, level=3)
        yield Table(("", *(metrics[quality].title for quality in qualities)), rows)


def _cell(row: RelationRow | None) -> str:
    if row is None:
        return UNDEFINED
    found = row.relation
    star = " *" if row.p_holm < DECIDED else ""
    return with_interval(found.value, found.low, found.high) + star
