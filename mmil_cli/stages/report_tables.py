"""The tables and plots of a report, from records alone; several runs stand side by side."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmil_cli.stages.report_curve import label_curve_blocks
from mmil_cli.stages.report_records import Content, Record
from mmil_cli.viz.drawings import shares
from mmil_cli.viz.page import Block, Drawing, Heading, Paragraph, Table
from mmil_cli.viz.tables import UNDEFINED, number, with_interval

Records = Mapping[str, Record]
"""Of one task, on the same films, by run."""

NOT_MEASURED = "not measured"
RANKING = {"auroc": "AUROC", "auprc": "AUPRC"}
DECISIONS = {
    "f1": "F1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "brier": "Brier",
    "ece": "ECE",
}
FIGURES = {**RANKING, **DECISIONS}
CURVES = {
    "roc": ("ROC", "1 - specificity", "sensitivity"),
    "precision_recall": ("Precision and recall", "recall", "precision"),
    "reliability": ("Reliability", "probability", "share present"),
}
DIRECTIONS = {
    "image_to_text": "film to report",
    "text_to_image": "report to film",
    "image_to_image": "film to film",
    "text_to_text": "impression to findings",
}
GROUNDING = {
    "pointing": "pointing game",
    "cnr": "CNR",
    "cnr_signed": "signed CNR",
    "pixel_auroc": "pixel AUROC",
    "miou": "mIoU",
    "dice": "Dice",
}
SYSTEMS = {
    "shuffled": "shuffled phrases",
    "prior": "location prior",
    "finding prior": "location prior of the finding",
    "random": "random weights",
}


def probe_blocks(records: Records) -> Iterator[Block]:
    """Classification: a table a method and figure, and its curves."""
    for method in _union(record.content["methods"] for record in records.values()):
        parts = {run: record.content["methods"].get(method) for run, record in records.items()}
        yield Heading(f"Method: {method}", 3)
        yield from _figure_tables(parts, method)
        yield from _curves(records, method)
        skipped = _union((part or {}).get("skipped", {}) for part in parts.values())
        if skipped:
            yield Paragraph(f"Not scored, for want of labels or prompts: {', '.join(skipped)}.")
    yield from label_curve_blocks(records)


def retrieval_blocks(records: Records) -> Iterator[Block]:
    """Retrieval: a table a direction, with chance beside it."""
    for direction, words in DIRECTIONS.items():
        tables = {run: record.content.get(direction) for run, record in records.items()}
        first = next((table for table in tables.values() if table), None)
        if first is None:
            yield Paragraph(f"{words[0].upper()}{words[1:]}: {NOT_MEASURED}.")
            continue
        names = _union({row["name"]: 0 for row in table["rows"]} for table in tables.values() if table)
        found = {run: _by_name(table) for run, table in tables.items()}
        chance = _by_name(first)
        rows = [
            (
                name,
                *(_interval(rows.get(name, {}).get("measured")) for rows in found.values()),
                _number(chance.get(name, {}).get("chance")),
            )
            for name in names
        ]
        caption = f"{words}: {first['num_queries']} queries, {first['num_gallery']} in the gallery."
        yield Table(("", *_measured(records), "by chance"), rows, caption)


def ground_blocks(records: Records) -> Iterator[Block]:
    """Grounding: the model and its controls, and the model finding by finding, a table each run."""
    for run, record in records.items():
        content = record.content
        told = f"{run}: " if len(records) > 1 else ""
        metrics = [name for name in GROUNDING if name in content["systems"]["model"]["micro"]]
        columns = tuple(GROUNDING[name] for name in metrics)
        rows = [
            (SYSTEMS.get(name, name), *(_interval(table["micro"][metric]) for metric in metrics))
            for name, table in content["systems"].items()
        ]
        caption = (
            f"{told}{content['num_phrases']} phrases in {content['num_films']} films, mean over phrases. "
            "What the model has to beat stands below it; mIoU and Dice of priors stand for nothing."
        )
        yield Table(("", *columns), rows, caption)
        findings = [
            (name, row["num_samples"], *(_interval(row[metric]) for metric in metrics))
            for name, row in content["systems"]["model"]["findings"].items()
        ]
        yield Table(("finding", "phrases", *columns), findings, f"{told}the model, finding by finding.")


def _figure_tables(parts: Mapping[str, Content | None], method: str) -> Iterator[Table]:
    """For one run all its figures in one table; for several a table a figure, a column a run."""
    found = {run: part for run, part in parts.items() if part is not None}
    findings = _union(part["findings"] for part in found.values())
    figures = [key for key in FIGURES if any(key in part["mean"] for part in found.values())]
    caption = f"{method}, with 95 % intervals by patient; the AUROC of chance is 0.50."
    if len(parts) == 1:
        (part,) = found.values()
        yield _ranking(part, findings, caption)
        decisions = [key for key in DECISIONS if key in figures]
        if decisions:
            rows = [(name, *_cells(part["findings"][name], decisions)) for name in findings]
            rows.append(("mean", *_cells(part["mean"], decisions)))
            words = f"{method}: decisions at thresholds chosen on validation, and scores as probabilities."
            yield Table(("finding", *(DECISIONS[key] for key in decisions)), rows, words)
        return
    for key in figures:
        lines = [
            (name, *(_interval(part and part["findings"].get(name, {}).get(key)) for part in parts.values()))
            for name in findings
        ]
        lines.append(("mean", *(_interval(part and part["mean"].get(key)) for part in parts.values())))
        yield Table(("finding", *parts), lines, f"{FIGURES[key]}: {caption}")


def _ranking(part: Content, findings: Sequence[str], caption: str) -> Table:
    rows = [(name, part["findings"][name]) for name in findings]
    cells = [
        (
            name,
            f"{row['num_positive']}/{row['num_negative']}",
            *_cells(row, list(RANKING)),
            _number(row["prevalence"]),
        )
        for name, row in rows
    ]
    mean = part["mean"]
    cells.append(("mean", "", *_cells(mean, list(RANKING)), _number(mean["prevalence"])))
    return Table(("finding", "pos/neg", *RANKING.values(), "chance AUPRC"), cells, caption)


def _curves(records: Records, method: str) -> Iterator[Block]:
    drawn = {run: record.curves.get(method, {}) for run, record in records.items()}
    findings = [name for name in _union(drawn.values()) if any(_drawn(part, name) for part in drawn.values())]
    if not findings:
        yield Paragraph("No curves: the record has none beside it (probe_curves.json).")
        return
    for key, (title, x, y) in CURVES.items():
        panels = {
            name: {run: part[name].get(key, ()) for run, part in drawn.items() if name in part}
            for name in findings
        }
        svg = shares(
            panels, list(records), x=x, y=y, marks=key == "reliability", diagonal=key != "precision_recall"
        )
        yield Drawing(svg, f"{title}, {method}.", f"{title} of {method}, a panel each finding")


def _drawn(part: Content, name: str) -> bool:
    return bool(part.get(name, {}).get("roc"))


def _cells(row: Content, figures: Sequence[str]) -> list[str]:
    return [_interval(row.get(key)) for key in figures]


def _by_name(table: Content | None) -> dict[str, Content]:
    return {row["name"]: row for row in table["rows"]} if table else {}


def _measured(records: Records) -> tuple[str, ...]:
    return tuple(records) if len(records) > 1 else ("measured",)


def _interval(found: Any) -> str:
    """A figure as JSON has it: None is NaN, and what is not there was not measured."""
    if not isinstance(found, Mapping):
        return NOT_MEASURED
    value, low, high = (_or_nan(found.get(name)) for name in ("value", "low", "high"))
    return with_interval(value, low, high)


def _number(value: Any) -> str:
    return UNDEFINED if value is None else number(_or_nan(value))


def _or_nan(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _union(parts: Any) -> list[str]:
    """The keys of several mappings, in the order in which they come."""
    return list(dict.fromkeys(key for part in parts for key in part))
