"""What a report says of fewer labels, and of models compared on the same cases."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmil_cli.errors import DataError
from mmil_cli.stages.report_records import Record, read_json
from mmil_cli.viz.drawings import label_curves
from mmil_cli.viz.page import Block, Drawing, Heading, Paragraph, Table
from mmil_cli.viz.tables import UNDEFINED, number, with_interval

COMPARE_FILE = "compare.json"
SHOWN = {
    "probe": ("mean of ",),
    "retrieve": ("R@1", "R@5", "R@10"),
    "ground": ("pointing", "cnr_signed", "pixel_auroc"),
}
"""By task, the names of the rows of a comparison that the page shows, of probes how they begin; the file has
all of them."""

PARTS = ("model", "image_to_text", "text_to_image", "image_to_image", "text_to_text")
"""Of retrieval and grounding; of probes every method is shown."""


def label_curve_blocks(records: Mapping[str, Record]) -> Iterator[Block]:
    """Mean AUROC of each method at fewer labels, over draws; nothing where no run has any."""
    points = {run: record.content.get("label_curve") or [] for run, record in records.items()}
    found = {
        (point["method"], point["labels"]): {run: _mean(points[run], point) for run in points}
        for each in points.values()
        for point in each
    }
    if not found:
        return
    names = list(dict.fromkeys(labels for _, labels in found))
    methods = dict.fromkeys(method for method, _ in found)
    panels = {
        method: {
            run: [
                (names.index(labels), point["mean"])
                for (of, labels), mean in found.items()
                if of == method and (point := mean[run]) and point["mean"] is not None
            ]
            for run in points
        }
        for method in methods
    }
    yield Heading("Fewer labels", 3)
    yield Drawing(label_curves(panels, list(points), names), "Mean AUROC over the number of labels.")
    rows = [(method, labels, *map(_spread, mean.values())) for (method, labels), mean in found.items()]
    columns = tuple(points) if len(points) > 1 else ("mean AUROC",)
    yield Table(("method", "labels", *columns), rows, "Mean AUROC ± its standard deviation over draws.")


def compare_blocks(folders: Sequence[Path]) -> Iterator[Block]:
    """The main rows of every comparison in some folders and below them.

    Raises:
        DataError: a file is no comparison.
    """
    paths = {path.resolve(): path for folder in folders for path in sorted(folder.rglob(COMPARE_FILE))}
    for path in paths.values():
        content = read_json(path)
        try:
            rows = [_compared(row) for row in content["rows"] if _is_shown(row)]
            yield Paragraph(
                f"{' and '.join(content['models'])} on the same cases ({path.parent.name}/{path.name}): less "
                f"{content['reference']}, resampled by patient, and p by that and by DeLong."
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is no comparison of this version of mmil ({error!r}); run mmil compare again"
            ) from error
        columns = ("task", "figure", content["reference"], "other", "value", "difference", "p", "p, DeLong")
        yield Table(columns, rows, "p is not corrected for the number of rows.")


def _mean(points: Sequence[Mapping[str, Any]], like: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The AUROC of the point of the same method and number of labels."""
    keys = ("method", "labels")
    return next((p["mean"]["auroc"] for p in points if all(p[key] == like[key] for key in keys)), None)


def _spread(mean: Mapping[str, Any] | None) -> str:
    if mean is None:
        return "not measured"
    if mean["mean"] is None:
        return UNDEFINED
    value = number(mean["mean"])
    return value if mean["deviation"] is None else f"{value} ± {number(mean['deviation'])}"


def _is_shown(row: Mapping[str, Any]) -> bool:
    name: str = row["name"]
    if row["task"] == "probe":
        return name.startswith(SHOWN["probe"])
    return name in SHOWN[row["task"]] and row["part"] in PARTS


def _compared(row: Mapping[str, Any]) -> tuple[str, ...]:
    found, gap = row["found"], row["found"]["gap"]
    values = [float("nan") if gap[key] is None else float(gap[key]) for key in ("value", "low", "high")]
    return (
        row["task"],
        f"{row['part']}, {row['name']} {row['metric'] if row['metric'] != 'mean' else ''}".strip(),
        _number(found["first"]),
        row["model"],
        _number(found["second"]),
        with_interval(*values),
        _number(found["p_bootstrap"], digits=3),
        _number(found["p_delong"], digits=3),
    )


def _number(value: float | None, *, digits: int = 2) -> str:
    return UNDEFINED if value is None else number(float(value), digits=digits)
