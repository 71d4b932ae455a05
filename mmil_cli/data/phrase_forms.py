"""Boxes and masks of findings in the forms that archives have: RSNA, VinDr, NIH, COCO, corners, masks."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mmil_cli.data.geometry import Box
from mmil_cli.data.phrase import BoxRow, box_fault, row_fault, spoken
from mmil_cli.data.tables import Table
from mmil_cli.errors import DataError

Cells = Mapping[str, str]
Read = tuple[list[BoxRow], list[str]]
"""Rows, and what is wrong with those that cannot be used."""

NIH_HEADER = ("Image Index", "Finding Label")
NIH_SIDE = 1024.0
"""Pixels of a side of the films that the boxes of NIH ChestX-ray14 were drawn on."""

RSNA_FINDING = "Lung Opacity"
"""What RSNA's boxes are around: they were drawn for pneumonia, on opacities."""

CATEGORY_COLUMNS = ("category_name", "class_name", "finding", "class", "cls", "label")
FORMS = (
    "MS-CXR (CSV or JSON), RSNA (patientId, x, y, width, height, Target), "
    "VinDr (image_id, class_name, x_min, y_min, x_max, y_max), NIH's BBox list, COCO (JSON), "
    "shares of the film (image_id, class, x0, y0, x1, y1), or masks (image_id, category_name, mask)"
)


def form_of(table: Table) -> Callable[[Table], Read] | None:
    """How a table that is not in the form of MS-CXR is read; None if it is in no form known here."""
    columns = set(table.columns)
    if {"patientId", "x", "y", "width", "height", "Target"} <= columns:
        return _read_rsna
    if {"image_id", "class_name", "x_min", "y_min", "x_max", "y_max"} <= columns:
        return _read_vindr
    if {"image_id", "x0", "y0", "x1", "y1"} <= columns and columns & set(CATEGORY_COLUMNS):
        return _read_shares
    if "mask" in columns and columns & {"image_id", "dicom_id"} and columns & set(CATEGORY_COLUMNS):
        return _read_masks
    return None


def is_nih(path: Path) -> bool:
    """Whether a file is NIH's `BBox_List_2017.csv`, whose header has nameless columns."""
    if path.suffix.lower() != ".csv":
        return False
    with path.open("rb") as handle:
        start = handle.read(100)
    return start.decode("utf-8-sig", errors="replace").startswith(",".join(NIH_HEADER))


def read_nih(path: Path) -> Read:
    """Image, finding, x, y, w, h in pixels of films of 1024 x 1024."""
    rows: list[BoxRow] = []
    problems: list[str] = []
    with path.open(newline="", encoding="utf-8-sig") as handle:
        for number, cells in enumerate(list(csv.reader(handle))[1:], start=1):
            if any(cells):
                box = _numbers(cells[2:6])
                name = PurePosixPath(cells[0]).stem
                _add(rows, problems, number, name, cells[1].strip(), box, size=(NIH_SIDE, NIH_SIDE))
    return rows, problems


def read_coco(path: Path) -> Read:
    """Annotations with `bbox`, of images with `file_name`, `width` and `height`; words in `label_text`.

    MS-CXR's JSON is one of these. Without words an annotation is called by its category.

    Raises:
        DataError: it is no such JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = {image["id"]: image for image in content["images"]}
        names = {item["id"]: str(item["name"]) for item in content["categories"]}
        annotations = list(content["annotations"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise DataError(
            f"{path} is no COCO file: it needs images, annotations and categories ({fault!r})"
        ) from fault
    rows: list[BoxRow] = []
    problems: list[str] = []
    for number, item in enumerate(annotations, start=1):
        wrong = _coco_fault(item, images, names)
        if wrong:
            problems.append(f"annotation {number}: {wrong}")
            continue
        image = images[item["image_id"]]
        name = PurePosixPath(str(image.get("file_name") or image.get("path") or "")).stem
        category, text = names[item["category_id"]], item.get("label_text")
        if isinstance(text, list):
            text = " ".join(map(str, text))
        box = _numbers(item["bbox"])
        size = (float(image.get("width") or 0), float(image.get("height") or 0))
        split = str(item.get("split") or image.get("split") or "")
        _add(rows, problems, number, name, category, box, size=size, text=text and str(text), split=split)
    return rows, problems


def _coco_fault(item: Any, images: Mapping[Any, Any], names: Mapping[Any, str]) -> str:
    if not isinstance(item, Mapping) or item.get("image_id") not in images:
        return "names no image of the file"
    if item.get("category_id") not in names:
        return "names no category of the file"
    box = item.get("bbox")
    return "" if isinstance(box, list) and len(box) == 4 else "bbox is no list of x, y, width, height"


def _read_rsna(table: Table) -> Read:
    """One row a box; films without a finding have one row without a box."""
    rows: list[BoxRow] = []
    problems: list[str] = []
    for number, cells in _cells(table):
        if cells["Target"] not in ("0", "0.0"):
            box = _numbers([cells[name] for name in ("x", "y", "width", "height")])
            _add(rows, problems, number, cells["patientId"], RSNA_FINDING, box)
    return rows, problems


def _read_vindr(table: Table) -> Read:
    """One row a box and radiologist; films without a finding have one row without a box."""
    rows: list[BoxRow] = []
    problems: list[str] = []
    for number, cells in _cells(table):
        corners = [cells[name] for name in ("x_min", "y_min", "x_max", "y_max")]
        if any(corners):
            box = _from_corners(corners)
            split = cells.get("split", "")
            _add(rows, problems, number, cells["image_id"], cells["class_name"], box, split=split)
    return rows, problems


def _read_shares(table: Table) -> Read:
    """Corners as shares of the film, 0 to 1; boxes become pixels when the film's size is known."""
    rows: list[BoxRow] = []
    problems: list[str] = []
    category = next(name for name in CATEGORY_COLUMNS if name in table.columns)
    for number, cells in _cells(table):
        corners = [cells[name] for name in ("x0", "y0", "x1", "y1")]
        values = [_number(value) for value in corners]
        if any(value > 1.001 or value < -0.001 for value in values):
            problems.append(f"row {number}: x0, y0, x1, y1 are shares of the film; pixels go in x_min, ...")
            continue
        size, split = (1.0, 1.0), cells.get("split", "")
        box = _from_corners(corners)
        text = cells.get("label_text") or None
        _add(
            rows, problems, number, cells["image_id"], cells[category], box, size=size, text=text, split=split
        )
    return rows, problems


def _read_masks(table: Table) -> Read:
    """One row a mask, a file beside the table."""
    rows: list[BoxRow] = []
    problems: list[str] = []
    category = next(name for name in CATEGORY_COLUMNS if name in table.columns)
    for number, cells in _cells(table):
        image_id = cells.get("image_id") or cells.get("dicom_id", "")
        text = cells.get("label_text") or spoken(cells[category])
        path = table.path.parent / cells["mask"]
        fault = row_fault(image_id, cells[category], text)
        if not fault and not path.is_file():
            fault = f"its mask {cells['mask']!r} is not beside the table"
        if fault:
            problems.append(f"row {number}: {fault}")
        else:
            split = cells.get("split", "")
            rows.append(BoxRow(number, image_id, cells[category], text, None, split=split, mask=path))
    return rows, problems


def _add(
    rows: list[BoxRow],
    problems: list[str],
    number: int,
    image_id: str,
    category: str,
    box: Box | None,
    *,
    size: tuple[float, float] = (0.0, 0.0),
    text: str | None = None,
    split: str = "",
) -> None:
    """A row, or what is wrong with it."""
    words = text or spoken(category)
    fault = row_fault(image_id, category, words)
    if not fault:
        fault = "has no box of four numbers" if box is None else box_fault(box, width=size[0], height=size[1])
    if fault:
        problems.append(f"row {number}: {fault}")
    else:
        rows.append(BoxRow(number, image_id, category, words, box, *size, split))


def _cells(table: Table) -> Iterator[tuple[int, dict[str, str]]]:
    for number, values in enumerate(table.rows, start=1):
        yield number, {name: value.strip() for name, value in zip(table.columns, values, strict=True)}


def _numbers(cells: Any) -> Box | None:
    values = [_number(cell) for cell in cells]
    if len(values) != 4 or not all(map(math.isfinite, values)):
        return None
    x, y, width, height = values
    return x, y, width, height


def _from_corners(cells: list[str]) -> Box | None:
    corners = _numbers(cells)
    if corners is None:
        return None
    left, top, right, bottom = corners
    return left, top, right - left, bottom - top


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan
