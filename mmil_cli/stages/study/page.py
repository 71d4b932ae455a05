"""The page of a study: verdicts first, then for each data and condition tables, plots and differences."""

import math
from collections.abc import Iterator, Mapping, Sequence

from mmil_cli.metrics.intervals import Interval
from mmil_cli.stages.study.kinds import Metric
from mmil_cli.stages.study.plan import StudyPlan
from mmil_cli.stages.study.relation_blocks import relation_blocks
from mmil_cli.stages.study.relations import RelationRow
from mmil_cli.stages.study.tables import Gap, Summary
from mmil_cli.stages.study.verdicts import ClaimVerdict, Comparison, Verdict
from mmil_cli.viz.drawings import Bar, interval_bars
from mmil_cli.viz.page import Block, Command, Drawing, Heading, Page, Paragraph, Table, render
from mmil_cli.viz.tables import UNDEFINED, number, with_interval

SMALLEST_P = 0.001


def write_page(
    plan: StudyPlan,
    *,
    verdicts: Sequence[ClaimVerdict],
    found: Sequence[Summary],
    differences: Sequence[Gap],
    failures: Mapping[str, str],
    commands: Mapping[str, tuple[str, ...]],
    seconds: Mapping[str, float],
    related: Sequence[RelationRow] = (),
) -> str:
    """The page as HTML.

    Args:
        plan: of the study.
        verdicts: of its claims.
        found: mean of each row.
        differences: each row against the baseline.
        failures: why cells came to nothing, by name.
        commands: of each cell, by name.
        seconds: of each finished cell, by name.
        related: which property goes with which performance.
    """
    titles = {data.name: data.title for data in plan.data}
    blocks: list[Block] = [*_verdicts(plan, verdicts, titles)]
    for data in plan.data_names():
        for condition in plan.conditions:
            here = [s for s in found if (s.data, s.condition) == (data, condition)]
            gaps = [gap for gap in differences if (gap.data, gap.condition) == (data, condition)]
            name = ", ".join(filter(None, (titles.get(data, plan.study.title), condition)))
            blocks += _results(plan, name, here, gaps)
    for data in plan.data_names():
        mine = [row for row in related if row.data == data]
        blocks += relation_blocks(mine, metrics=plan.metrics(), where=titles.get(data, plan.study.title))
    blocks += [*_failures(failures), *_rule(plan), *_cells(plan, commands, seconds)]
    return render(
        Page(
            title=plan.study.title,
            subtitle=plan.study.purpose,
            blocks=blocks,
            banner="; ".join(titles.values()) or None,
        )
    )


def _verdicts(
    plan: StudyPlan, verdicts: Sequence[ClaimVerdict], titles: Mapping[str, str]
) -> Iterator[Block]:
    """Each claim under its verdict, in the order of the recipe whatever the verdict is."""
    for data in plan.data_names():
        asked = [verdict for verdict in verdicts if verdict.data == data]
        if not asked:
            continue
        counts = {kind: sum(v.verdict is kind for v in asked) for kind in Verdict}
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        yield Heading("Claims" + (f", on {titles[data]}" if data in titles else ""))
        yield Paragraph(f"{len(asked)} claims: {told}.")
        for verdict in asked:
            yield from _claim(plan, verdict)


def _claim(plan: StudyPlan, found: ClaimVerdict) -> Iterator[Block]:
    claim = found.claim
    yield Heading(f"{str(found.verdict).capitalize()}: {claim.text}", level=3)
    metrics = plan.metrics()
    title = _title(metrics, claim.metric)
    second = _title(metrics, claim.than_metric) if claim.than_metric else ""
    versus = f" against {second}" if second else ""
    yield Paragraph(f"Claimed by: {claim.source}. Measured: {title}{versus}; margin {claim.margin:g}.")
    if not found.comparisons:
        yield Paragraph(f"The {plan.form} form has not the arms, data or conditions that it speaks of.")
        return
    rows = [_comparison_cells(item, plan) for item in found.comparisons]
    yield Table(
        (
            "difference of",
            "estimate",
            f"{100 * plan.study.level:g} % interval",
            "deciding interval",
            "p (Holm)",
            "seeds",
            "",
        ),
        rows,
    )
    bars = [
        _bar(_named(item), item.estimate.value, item.deciding, claim.margin) for item in found.comparisons
    ]
    yield Drawing(
        interval_bars(bars, label="difference, deciding interval; the orange mark is the margin"),
        "",
        description="; ".join(
            f"{bar.name} {bar.value:.3f} from {bar.low:.3f} to {bar.high:.3f}" for bar in bars
        ),
    )


def _comparison_cells(found: Comparison, plan: StudyPlan) -> tuple[str, ...]:
    why = f": {found.why}" if found.why else ""
    of_planned = f"{found.estimate.num_seeds} of {len(plan.seeds)}"
    return (
        _named(found),
        number(found.estimate.value, digits=3),
        _ends(found.interval),
        _ends(found.deciding),
        _p(found.p_holm),
        of_planned,
        f"{found.verdict}{why}",
    )


def _named(found: Comparison) -> str:
    return f"{found.better} − {found.than}" if found.than else found.better


def _results(plan: StudyPlan, name: str, found: Sequence[Summary], gaps: Sequence[Gap]) -> Iterator[Block]:
    metrics = plan.metrics()
    shown = [metric for metric in plan.study.metrics if any(s.metric == metric for s in found)]
    if not shown:
        return
    yield Heading(f"Results: {name}")
    yield _table(plan, metrics, shown, found, name)
    for metric in shown:
        mine = [s for s in found if s.metric == metric]
        yield Drawing(
            interval_bars(
                [_bar(s.row, s.estimate.value, s.interval, s.chance) for s in mine],
                title=_title(metrics, metric),
                label=f"{100 * plan.study.level:g} % intervals; the orange mark is chance",
            ),
            f"{name}: {_title(metrics, metric)}",
        )
    if gaps:
        yield Heading(f"Against {plan.study.baseline}: {name}", level=3)
        yield _gap_table(plan, metrics, shown, gaps, name)


def _table(
    plan: StudyPlan,
    metrics: Mapping[str, Metric],
    shown: Sequence[str],
    found: Sequence[Summary],
    name: str,
) -> Table:
    """Rows as they stand in the recipe, floors after them, chance last."""
    cells = {(s.row, s.metric): s for s in found}
    rows = []
    for row in plan.rows:
        mine = [cells.get((row.name, metric)) for metric in shown]
        if not any(mine):
            continue
        label = f"floor: {row.name}" if row.floor else row.name
        rows.append([label, *(UNDEFINED if s is None else _measured(s) for s in mine)])
    chances = [next((s.chance for s in found if s.metric == m and not s.floor), math.nan) for m in shown]
    rows.append(["chance", *(number(chance, digits=3) for chance in chances)])
    return Table(
        ("", *(_title(metrics, metric) + _direction(metrics[metric]) for metric in shown)),
        rows,
        caption=f"{name}. Means of {len(plan.seeds)} seeds with {100 * plan.study.level:g} % intervals.",
    )


def _measured(found: Summary) -> str:
    return with_interval(found.estimate.value, found.interval.low, found.interval.high, digits=3)


def _gap_table(
    plan: StudyPlan,
    metrics: Mapping[str, Metric],
    shown: Sequence[str],
    gaps: Sequence[Gap],
    name: str,
) -> Table:
    cells = {(gap.row, gap.metric): gap for gap in gaps}
    columns = [metric for metric in shown if any(gap.metric == metric for gap in gaps)]
    rows = []
    for row in dict.fromkeys(gap.row for gap in gaps):
        mine = [cells.get((row, metric)) for metric in columns]
        rows.append([row, *(UNDEFINED if gap is None else _gap_cell(gap) for gap in mine)])
    return Table(
        ("", *(_title(metrics, metric) for metric in columns)),
        rows,
        caption=(
            f"{name}. Paired differences from {plan.study.baseline}, positive where the row is better, with "
            f"{100 * plan.study.level:g} % intervals and p corrected by Holm's method over this table."
        ),
    )


def _gap_cell(gap: Gap) -> str:
    measured = with_interval(gap.estimate.value, gap.interval.low, gap.interval.high, digits=3)
    return f"{measured}, p {_p(gap.p_holm)}"


def _failures(failures: Mapping[str, str]) -> Iterator[Block]:
    if failures:
        yield Heading("Cells that failed")
        yield Paragraph("They are missing from every table above. The same command tries them again.")
        yield Table(("cell", "why"), list(failures.items()))


def _rule(plan: StudyPlan) -> Iterator[Block]:
    level = f"{100 * plan.study.level:g} %"
    yield Heading("How claims are decided")
    yield Paragraph(
        "The rule, the metric and the margin of each claim stood in the recipe before the first cell was "
        "run, and a folder whose recipe has changed since is refused. Differences are paired: of the same "
        "seed, and of the same resamples of patients. Intervals are Student's, their error the sum of the "
        "variance of seeds and that of resampled patients, with Satterthwaite's degrees of freedom. The "
        "differences of all claims on the same data are corrected together by Holm's method; the deciding "
        "interval of each is of the level at which that method tests it."
    )
    yield Paragraph(
        f"A claim holds where each of its differences lies above its margin at {level} so corrected, does "
        "not hold where one lies below it, and is undecided otherwise. Undecided is no finding: more seeds "
        "or more patients may decide it either way."
    )


def _cells(
    plan: StudyPlan, commands: Mapping[str, tuple[str, ...]], seconds: Mapping[str, float]
) -> Iterator[Block]:
    yield Heading("Cells")
    done = sum(seconds.values())
    yield Paragraph(
        f"{len(seconds)} of {len(plan.cells)} cells are finished; they took {done / 60:.1f} minutes of one "
        f"worker each. Form {plan.form}, scale {plan.scale:g}, seeds {', '.join(map(str, plan.seeds))}."
    )
    lines = []
    for cell in plan.cells:
        if commands[cell.name]:
            took = f"  ({seconds[cell.name]:.0f} s)" if cell.name in seconds else "  (not finished)"
            lines += [f"# {cell.name}{took}", *commands[cell.name], ""]
    if lines:
        yield Command("\n".join(lines).rstrip())


def _bar(name: str, value: float, interval: Interval, mark: float) -> Bar:
    return Bar(name, value, interval.low, interval.high, mark)


def _title(metrics: Mapping[str, Metric], name: str) -> str:
    return metrics[name].title if name in metrics else name


def _direction(metric: Metric) -> str:
    return "" if metric.higher_is_better else " (lower is better)"


def _ends(interval: Interval) -> str:
    if math.isnan(interval.low):
        return UNDEFINED
    return f"[{number(interval.low, digits=3)}, {number(interval.high, digits=3)}]"


def _p(p: float) -> str:
    if math.isnan(p):
        return UNDEFINED
    return f"< {SMALLEST_P:g}" if p < SMALLEST_P else f"{p:.3f}"
