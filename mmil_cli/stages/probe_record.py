"""What a probe writes: `probe.json`, `probe_curves.json` and `probe_cases.parquet`.

`probe.json` holds, under `methods` by name: `mean` and `findings` (every figure as value, low, high and
num_undefined; `thresholds`; `chosen`), `classes` (tasks of several classes: `rows`, `mean`, `accuracy`) and
`skipped`; under `label_curve` a list with one entry a method and number of labels (`mean.auroc.mean`,
`deviation`, `values` by draw; the same under `findings` and `classes`). `probe_curves.json` holds, by method
and finding, `roc` as [1 - specificity, sensitivity], `precision_recall` as [recall, precision] and
`reliability` as [mean probability, share positive, films] points.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmil_cli.files import without_nan, write_json, write_text
from mmil_cli.metrics.several_classes import ClassTable
from mmil_cli.stages.cases import SUFFIX, write_cases
from mmil_cli.stages.label_curve import LabelPoint
from mmil_cli.stages.probe_scores import MethodResult

FILE_NAME = "probe.json"
CURVES_NAME = "probe_curves.json"
CASES_NAME = f"probe{SUFFIX}"
DEFINITIONS = {
    "f1": "at the threshold with the highest F1 on the validate split",
    "sensitivity": "at the threshold with the highest sensitivity + specificity on the validate split",
    "specificity": "at the same",
    "brier": "mean (p - y)^2",
    "ece": "sum over ten bins of p of equal width of n_b / n |mean y - mean p|",
    "interval": "95 %, percentiles of 1000 bootstrap resamples of patients",
}


def write_record(
    out: Path,
    *,
    methods: Sequence[MethodResult],
    points: Sequence[LabelPoint],
    head: Mapping[str, Any],
) -> Path:
    """Writes the three files, the record last; returns its path.

    Args:
        out: folder.
        methods: their figures.
        points: figures at fewer labels.
        head: what else the record holds.
    """
    write_cases(out / CASES_NAME, [cases for part in methods for cases in part.cases])
    drawn = {
        str(part.method): {name: asdict(found) for name, found in part.curves.items()} for part in methods
    }
    write_text(out / CURVES_NAME, json.dumps(without_nan(drawn), allow_nan=False) + "\n")
    content = {
        **head,
        "chance": {"auroc": 0.5, "auprc": "prevalence"},
        "definitions": DEFINITIONS,
        "curves": CURVES_NAME,
        "cases": CASES_NAME,
        "methods": {str(part.method): _method(part) for part in methods},
        "label_curve": [point.record() for point in points],
    }
    write_json(out / FILE_NAME, content)
    return out / FILE_NAME


def _method(part: MethodResult) -> dict[str, Any]:
    return {
        "mean": {
            **asdict(part.table.mean),
            **_intervals(part.decisions.mean),
            "num_findings_of": part.decisions.num_findings,
        },
        "findings": {
            row.name: {
                **asdict(row),
                **_intervals(part.decisions.findings[row.name]),
                "thresholds": asdict(part.thresholds[row.name]),
                "chosen": part.details[row.name],
            }
            for row in part.table.rows
        },
        "classes": {name: _classes(part, name, table) for name, table in part.classes.items()},
        "skipped": part.skipped,
    }


def _classes(part: MethodResult, name: str, table: ClassTable) -> dict[str, Any]:
    return {**asdict(table), "chosen": part.details.get(name, {})}


def _intervals(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: asdict(value) for name, value in found.items()}
