"""The files of a study's results: every figure of every cell, means over seeds, differences and claims."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmil_cli.files import write_atomic, write_text
from mmil_cli.stages.study.comparisons import Results
from mmil_cli.stages.study.folder import CellResult
from mmil_cli.stages.study.kinds import Metric
from mmil_cli.stages.study.plan import StudyPlan
from mmil_cli.stages.study.relations import RelationRow
from mmil_cli.stages.study.tables import Gap, Summary
from mmil_cli.stages.study.verdicts import ClaimVerdict

RESULTS, CLAIMS, DIFFERENCES, TIMES = "results", "claims", "differences", "times"
RELATIONS = "relations"
ALL_SEEDS = "all"
RESULT_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("data", "condition", "arm", "seed", "metric", "finding")),
        *((name, pa.float64()) for name in ("value", "low", "high", "chance")),
        ("num_seeds", pa.int32()),
        ("floor", pa.bool_()),
        ("settings", pa.string()),
    ]
)
"""`low` and `high` are of patients in a row of one seed, of seeds and patients in one of all."""


def write_tables(
    out: Path,
    plan: StudyPlan,
    results: Results,
    *,
    found: Sequence[Summary],
    differences: Sequence[Gap],
    verdicts: Sequence[ClaimVerdict],
    related: Sequence[RelationRow] = (),
) -> None:
    """Writes `results.csv` and `.parquet`, `differences.csv`, `claims.csv` and `times.csv` (what varies).

    And `relations.csv` where the study asks for them.
    """
    declared = plan.metrics()
    exact = list(_result_rows(plan, results, found, declared, times=False))
    table = pa.Table.from_pylist(exact, schema=RESULT_SCHEMA)
    write_atomic(
        out / f"{RESULTS}.parquet", lambda partial: pq.write_table(table, partial, compression="zstd")
    )
    _write_csv(out / f"{RESULTS}.csv", RESULT_SCHEMA.names, exact)
    times = [*_result_rows(plan, results, found, declared, times=True), *_cell_times(plan, results)]
    _write_csv(out / f"{TIMES}.csv", RESULT_SCHEMA.names, times)
    gap_rows = [_gap_row(gap) for gap in differences]
    _write_csv(out / f"{DIFFERENCES}.csv", list(gap_rows[0]) if gap_rows else ["data"], gap_rows)
    claims = [row for verdict in verdicts for row in _claim_rows(verdict)]
    _write_csv(out / f"{CLAIMS}.csv", list(claims[0]) if claims else ["data"], claims)
    if plan.study.relations is not None:
        rows = [_relation_row(row) for row in related]
        _write_csv(out / f"{RELATIONS}.csv", list(rows[0]) if rows else ["data"], rows)


def _relation_row(row: RelationRow) -> dict[str, Any]:
    names = {key: getattr(row, key) for key in ("data", "condition", "quality", "performance")}
    return {**names, **asdict(row.relation), "p_holm": row.p_holm}


def _result_rows(
    plan: StudyPlan,
    results: Results,
    found: Sequence[Summary],
    declared: Mapping[str, Metric],
    *,
    times: bool,
) -> Iterator[dict[str, Any]]:
    """One row a figure of a cell, then one a mean over seeds."""
    settings = {}
    for cell in plan.cells:
        key = (cell.data, cell.condition, cell.row.name)
        settings[key] = json.dumps(cell.settings, sort_keys=True)
        result = results.get((*key, cell.seed))
        if result is None:
            continue
        for figure, (low, high) in zip(result.figures, result.ends, strict=True):
            if declared[figure.metric].is_time == times:
                yield {
                    **_head(*key, str(cell.seed), figure.metric, figure.finding),
                    **_numbers(figure.value, low, high, figure.chance),
                    "num_seeds": 1,
                    "floor": cell.row.floor,
                    "settings": settings[key],
                }
    for summary in found:
        if declared[summary.metric].is_time == times:
            yield {
                **_head(summary.data, summary.condition, summary.row, ALL_SEEDS, summary.metric, ""),
                **_numbers(
                    summary.estimate.value, summary.interval.low, summary.interval.high, summary.chance
                ),
                "num_seeds": summary.estimate.num_seeds,
                "floor": summary.floor,
                "settings": settings[summary.data, summary.condition, summary.row],
            }


def _cell_times(plan: StudyPlan, results: Results) -> Iterator[dict[str, Any]]:
    for cell in plan.cells:
        result: CellResult | None = results.get((cell.data, cell.condition, cell.row.name, cell.seed))
        if result is not None:
            yield {
                **_head(cell.data, cell.condition, cell.row.name, str(cell.seed), "cell/seconds", ""),
                **_numbers(result.seconds, math.nan, math.nan, math.nan),
                "num_seeds": 1,
                "floor": cell.row.floor,
                "settings": json.dumps(cell.settings, sort_keys=True),
            }


def _head(data: str, condition: str, arm: str, seed: str, metric: str, finding: str) -> dict[str, Any]:
    return {
        "data": data,
        "condition": condition,
        "arm": arm,
        "seed": seed,
        "metric": metric,
        "finding": finding,
    }


def _numbers(value: float, low: float, high: float, chance: float) -> dict[str, float | None]:
    given = {"value": value, "low": low, "high": high, "chance": chance}
    return {name: None if math.isnan(number) else number for name, number in given.items()}


def _gap_row(gap: Gap) -> dict[str, Any]:
    return {
        "data": gap.data,
        "condition": gap.condition,
        "arm": gap.row,
        "metric": gap.metric,
        "difference": gap.estimate.value,
        "low": gap.interval.low,
        "high": gap.interval.high,
        "p": gap.p,
        "p_holm": gap.p_holm,
        "num_seeds": gap.estimate.num_seeds,
    }


def _claim_rows(verdict: ClaimVerdict) -> Iterator[dict[str, Any]]:
    """One row a difference; a claim that was not tested has one row without numbers."""
    claim = verdict.claim
    head = {
        "data": verdict.data,
        "claim": claim.text,
        "source": claim.source,
        "verdict": str(verdict.verdict),
        "metric": claim.metric,
        "than_metric": claim.than_metric or claim.metric,
        "margin": claim.margin,
    }
    for found in verdict.comparisons:
        yield {
            **head,
            "better": found.better,
            "than": found.than,
            "of_this_difference": str(found.verdict),
            "difference": found.estimate.value,
            "low": found.interval.low,
            "high": found.interval.high,
            "deciding_low": found.deciding.low,
            "deciding_high": found.deciding.high,
            "p": found.p,
            "p_holm": found.p_holm,
            "num_seeds": found.estimate.num_seeds,
            "why": found.why,
        }
    if not verdict.comparisons:
        numbers = dict.fromkeys(
            ("difference", "low", "high", "deciding_low", "deciding_high", "p", "p_holm"), math.nan
        )
        yield {
            **head,
            "better": claim.better,
            "than": ", ".join(claim.than),
            "of_this_difference": str(verdict.verdict),
            **numbers,
            "num_seeds": 0,
            "why": "this form of the study has not its arms, data or conditions",
        }


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Blank where a number is undefined; nine digits, which tell any two results apart."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in columns])
    write_text(path, text.getvalue())


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.9g}" if isinstance(value, float) else str(value)
