"""One row of the dataset as Arrow, in a schema that Hugging Face `datasets` reads as its own."""

import hashlib
import json
from typing import Any

import pyarrow as pa

from mmil_cli.data.convert import Example
from mmil_cli.data.pixels import Encoding

_TEXTS = ("image_id", "study_id", "patient_id", "split", "view", "orientation")
_SIZES = ("height", "width", "source_height", "source_width")
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_SECTION = pa.struct([("name", pa.string()), ("text", pa.string())])


def arrow_schema(label_names: tuple[str, ...], encoding: Encoding, *, study_days: bool = False) -> pa.Schema:
    """The schema of all shards; `study_day` and, without names of them, `labels` are not in every dataset."""
    fields = [
        *(pa.field(name, pa.string()) for name in _TEXTS),
        pa.field("image", _IMAGE),
        *(pa.field(name, pa.int32()) for name in _SIZES),
        pa.field("spacing", pa.list_(pa.float64())),
        pa.field("to_source", pa.list_(pa.float64())),
        pa.field("sections", pa.list_(_SECTION)),
        pa.field("sentences", pa.list_(pa.string())),
        pa.field("text_key", pa.string()),
    ]
    if study_days:
        fields.append(pa.field("study_day", pa.int32()))
    if label_names:
        fields.append(pa.field("labels", pa.struct([(name, pa.int8()) for name in label_names])))
    features = {"info": {"features": _features(label_names, encoding, study_days=study_days)}}
    return pa.schema(fields, metadata={"huggingface": json.dumps(features)})


def arrow_row(example: Example, label_names: tuple[str, ...], *, study_days: bool = False) -> dict[str, Any]:
    """An example as the values of `arrow_schema`."""
    record, affine = example.record, example.to_source
    row: dict[str, Any] = {
        "image_id": record.image_id,
        "study_id": record.study_id,
        "patient_id": record.patient_id,
        "split": record.split,
        "view": example.view,
        "orientation": example.orientation,
        "image": {"bytes": example.image, "path": None},
        **{name: getattr(example, name) for name in _SIZES},
        "spacing": list(example.spacing_mm) if example.spacing_mm else None,
        "to_source": [affine.scale_x, affine.scale_y, affine.offset_x, affine.offset_y],
        "sections": [{"name": section.name, "text": section.text} for section in example.sections],
        "sentences": list(example.sentences),
        "text_key": example.text_key,
    }
    if study_days:
        row["study_day"] = record.study_day
    if label_names:
        row["labels"] = dict(zip(label_names, record.labels, strict=True))
    return row


def row_digest(row: dict[str, Any]) -> str:
    """SHA-256 of a row's content, whatever Arrow version writes it and into whichever shard."""
    plain = {name: value for name, value in row.items() if name != "image"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())
    digest.update(row["image"]["bytes"])
    return digest.hexdigest()


def _features(label_names: tuple[str, ...], encoding: Encoding, *, study_days: bool) -> dict[str, Any]:
    """The Hugging Face features; raw pixels are bytes there, because an Image must be a file of its own."""
    text = _value("string")
    raw = {"bytes": _value("binary"), "path": text}
    features: dict[str, Any] = {
        **dict.fromkeys(_TEXTS, text),
        "image": raw if encoding is Encoding.RAW else {"_type": "Image"},
        **dict.fromkeys(_SIZES, _value("int32")),
        "spacing": [_value("float64")],
        "to_source": [_value("float64")],
        "sections": [{"name": text, "text": text}],
        "sentences": [text],
        "text_key": text,
    }
    if study_days:
        features["study_day"] = _value("int32")
    if label_names:
        features["labels"] = {name: _value("int8") for name in label_names}
    return features


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}
