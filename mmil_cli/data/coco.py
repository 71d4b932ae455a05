"""The JSON form of MS-CXR (COCO, with `label_text` on every annotation) as the table that its CSV form is."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmil_cli.data.tables import Table
from mmil_cli.errors import DataError

SUFFIX = ".json"
COLUMNS = (
    "dicom_id",
    "category_name",
    "label_text",
    "x",
    "y",
    "w",
    "h",
    "image_width",
    "image_height",
    "split",
)


def read_coco(path: Path) -> Table:
    """One row an annotation: its box, its words, the name of its category and the size of its film.

    The id of a film is its file's name without the suffix, as in MIMIC-CXR-JPG.

    Raises:
        DataError: the file cannot be read, or is not of that form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        films = {film["id"]: film for film in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        rows = tuple(_row(part, films[part["image_id"]], names) for part in content["annotations"])
    except OSError as fault:
        raise DataError(f"{path} cannot be read: {fault.strerror}") from fault
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise DataError(
            f"{path} is not MS-CXR's JSON: images (id, file_name, width, height), categories (id, name) and "
            "annotations (image_id, category_id, bbox of x, y, w, h, and label_text)"
        ) from fault
    return Table(path, COLUMNS, rows)


def _row(part: Mapping[str, Any], film: Mapping[str, Any], names: Mapping[Any, str]) -> tuple[str, ...]:
    box: Sequence[float] = part["bbox"]
    if len(box) != 4:
        raise ValueError
    name = Path(film.get("path") or film["file_name"]).stem
    cells = (name, names[part["category_id"]], part["label_text"], *box, film["width"], film["height"])
    return tuple(str(cell) for cell in (*cells, film.get("split", "")))
