"""The cases behind a result, one row each, so that two models can be compared on the same ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmil_cli.errors import DataError
from mmil_cli.files import write_atomic

SUFFIX = "_cases.parquet"
SCHEMA = pa.schema(
    [
        ("part", pa.dictionary(pa.int32(), pa.string())),
        ("name", pa.dictionary(pa.int32(), pa.string())),
        ("case_id", pa.dictionary(pa.int32(), pa.string())),
        ("patient_id", pa.dictionary(pa.int32(), pa.string())),
        ("label", pa.int8()),
        ("value", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cases:
    """The cases of one figure.

    Attributes:
        part: of the task: the method of a probe, the direction of a retrieval, the system of a grounding.
        name: the finding, or the metric.
        case_id: of each film, query or phrase, unique among them [n].
        patient_id: whom each belongs to [n].
        label: 0 or 1 where `value` is a score whose ranking counts; None where it is a figure whose mean
            does.
        value: score or figure of each; NaN where a figure is undefined [n].
    """

    part: str
    name: str
    case_id: np.ndarray
    patient_id: np.ndarray
    label: np.ndarray | None
    value: np.ndarray


def write_cases(path: Path, cases: Iterable[Cases]) -> None:
    """Writes the cases of a task, `TASK_cases.parquet`, beside its record; Parquet, so a few bytes a case."""
    tables = [_as_table(group) for group in cases]
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    write_atomic(path, lambda partial: pq.write_table(table, partial, compression="zstd"))


def read_cases(path: Path) -> dict[tuple[str, str], Cases]:
    """The cases of a file by part and name, in their order.

    Raises:
        DataError: the file is damaged, or no file of cases.
    """
    try:
        table = pq.read_table(path)
        columns = {name: table.column(name).to_numpy(zero_copy_only=False) for name in SCHEMA.names}
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise DataError(
            f"{path} is no file of cases, or damaged; run the command that wrote it again"
        ) from error
    keys = [f"{part}\0{name}" for part, name in zip(columns["part"], columns["name"], strict=True)]
    first = dict.fromkeys(keys)
    number = {key: place for place, key in enumerate(first)}
    group = np.array([number[key] for key in keys], np.int64)
    return {tuple(key.split("\0")): _cases(columns, group == number[key]) for key in first}  # type: ignore[misc]


def _cases(columns: Mapping[str, np.ndarray], rows: np.ndarray) -> Cases:
    label = columns["label"][rows].astype(np.float64)
    return Cases(
        part=str(columns["part"][rows][0]),
        name=str(columns["name"][rows][0]),
        case_id=columns["case_id"][rows].astype(str),
        patient_id=columns["patient_id"][rows].astype(str),
        label=None if np.isnan(label).all() else label,
        value=columns["value"][rows].astype(np.float64),
    )


def _as_table(cases: Cases) -> pa.Table:
    num = len(cases.value)
    label = [None] * num if cases.label is None else cases.label.astype(np.int8)
    columns: Sequence[object] = ([cases.part] * num, [cases.name] * num, cases.case_id.astype(str),
                                 cases.patient_id.astype(str), label, cases.value)  # fmt: skip
    return pa.table(
        [pa.array(values, type=_plain(field.type)).cast(field.type) for values, field in
         zip(columns, SCHEMA, strict=True)],
        schema=SCHEMA,
    )  # fmt: skip


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_dictionary(kind) else kind
