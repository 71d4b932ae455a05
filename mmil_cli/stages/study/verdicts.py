"""The claims of a study, decided by the rule that its recipe fixed before the run.

Each claim is one paired difference, or several. A difference is tested against the claim's margin, two-sided,
over seeds and patients (`metrics.replicates`); all differences of all claims on the same data are corrected
together by Holm's method. Where the corrected p is below 1 - level, the difference is decided: above the
margin it is for the claim, below against it. A claim holds where all of its differences are for it, does not
hold where one is against it, and is undecided otherwise. With one seed nothing is decided.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mmil_cli.config.study import Claim
from mmil_cli.metrics.intervals import Interval
from mmil_cli.metrics.replicates import Estimate, holm, holm_levels
from mmil_cli.stages.study.comparisons import Results, Side, estimate_difference, estimate_row
from mmil_cli.stages.study.plan import StudyPlan

LEAST_SEEDS = 2


class Verdict(StrEnum):
    """What a study says of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    UNTESTED = "not tested"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One difference of a claim.

    Attributes:
        better: the row that is claimed to be better.
        than: the other row; empty where the metric itself is held against the margin.
        estimate: of the difference, positive where `better` is better.
        interval: of the level of the study.
        deciding: the interval of the level at which Holm's method tests this difference.
        p: two-sided, of the difference being the margin; NaN where it cannot be tested.
        p_holm: corrected.
        verdict: of this difference alone.
        why: an undecided one is undecided.
    """

    better: str
    than: str
    estimate: Estimate
    interval: Interval
    deciding: Interval
    p: float
    p_holm: float
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """A claim on some data.

    Attributes:
        claim: of the recipe.
        data: name of the data.
        comparisons: that decide it; none where it was not tested.
        verdict: what follows.
    """

    claim: Claim
    data: str
    comparisons: tuple[Comparison, ...]
    verdict: Verdict


def decide(plan: StudyPlan, results: Results) -> tuple[ClaimVerdict, ...]:
    """A verdict for every claim and every data that it is asked of, in the order of data and recipe."""
    return tuple(verdict for name in plan.data_names() for verdict in _on_data(plan, results, name))


def _on_data(plan: StudyPlan, results: Results, data: str) -> Iterator[ClaimVerdict]:
    asked = [
        claim for claim in plan.claims if data in (claim.data or (data,)) and not plan.fault_of(claim, data)
    ]
    pairs = [(claim, *sides) for claim in asked for sides in _sides(plan, claim)]
    estimates = [_estimate(plan, results, data, *pair) for pair in pairs]
    margins = [claim.margin for claim, _, _ in pairs]
    p_values = [
        estimate.p_value(margin) if estimate.num_seeds >= LEAST_SEEDS else math.nan
        for estimate, margin in zip(estimates, margins, strict=True)
    ]
    level = plan.study.level
    found: dict[int, list[Comparison]] = {}
    for (claim, better, than), estimate, p, p_holm, deciding in zip(
        pairs, estimates, p_values, holm(p_values), holm_levels(p_values, level), strict=True
    ):
        verdict, why = _verdict(estimate, p_holm, margin=claim.margin, level=level)
        comparison = Comparison(
            better=better.row,
            than=than.row if than else "",
            estimate=estimate,
            interval=estimate.interval(level),
            deciding=estimate.interval(deciding),
            p=p,
            p_holm=p_holm,
            verdict=verdict,
            why=why,
        )
        found.setdefault(id(claim), []).append(comparison)
    for claim in asked:
        comparisons = tuple(found.get(id(claim), ()))
        yield ClaimVerdict(claim=claim, data=data, comparisons=comparisons, verdict=_together(comparisons))
    for claim in plan.untested:
        if data in (claim.data or (data,)):
            yield ClaimVerdict(claim=claim, data=data, comparisons=(), verdict=Verdict.UNTESTED)


def _sides(plan: StudyPlan, claim: Claim) -> Iterator[tuple[Side, Side | None]]:
    (row,) = plan.row_names(claim.better)
    better = Side(row=row, metric=claim.metric)
    if not claim.than:
        yield better, None
    for name in claim.than:
        for other in plan.row_names(name):
            than = Side(row=other, metric=claim.than_metric or claim.metric)
            if than != better:
                yield better, than


def _estimate(
    plan: StudyPlan, results: Results, data: str, claim: Claim, better: Side, than: Side | None
) -> Estimate:
    conditions = claim.conditions or plan.conditions
    if than is None:
        return estimate_row(results, better, data=data, conditions=conditions, seeds=plan.seeds)
    return estimate_difference(
        results,
        better,
        than,
        data=data,
        conditions=conditions,
        seeds=plan.seeds,
        higher_is_better=plan.metrics()[claim.metric].higher_is_better,
    )


def _verdict(estimate: Estimate, p_holm: float, *, margin: float, level: float) -> tuple[Verdict, str]:
    if estimate.num_seeds == 0:
        return Verdict.UNDECIDED, "no seed has both cells"
    if estimate.num_seeds < LEAST_SEEDS:
        return Verdict.UNDECIDED, "one seed decides nothing"
    if math.isnan(p_holm):
        return Verdict.UNDECIDED, "its error is not known"
    if p_holm >= 1 - level:
        return Verdict.UNDECIDED, "the deciding interval holds the margin"
    return (Verdict.HOLDS if estimate.value > margin else Verdict.FAILS), ""


def _together(comparisons: Sequence[Comparison]) -> Verdict:
    verdicts = {comparison.verdict for comparison in comparisons}
    if Verdict.FAILS in verdicts:
        return Verdict.FAILS
    return Verdict.HOLDS if verdicts == {Verdict.HOLDS} else Verdict.UNDECIDED
