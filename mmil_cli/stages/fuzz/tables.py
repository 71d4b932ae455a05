"""A strict reading of tables, with a CSV parser of its own."""

import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmil_cli.stages.fuzz.elements import Refused

Row = dict[str, str]


def strict_rows(path: Path) -> list[Row]:
    """The rows of a CSV, JSON Lines or Parquet file as text.

    Raises:
        Refused: the file is no whole table of that form.
    """
    if path.suffix == ".parquet":
        return _parquet(path)
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as fault:
            raise Refused("gzip") from fault
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise Refused("UTF-8") from fault
    return _json_lines(text) if ".jsonl" in path.name else _csv(text)


def _csv(text: str) -> list[Row]:
    lines = [line for line in _cells(text) if line != [""]]
    if not lines:
        raise Refused("empty")
    names = [name.strip() for name in lines[0]]
    if max(Counter(names).values()) > 1 or any(len(line) != len(names) for line in lines):
        raise Refused("ragged")
    return [dict(zip(names, line, strict=True)) for line in lines[1:]]


def _cells(text: str) -> Iterator[list[str]]:
    """RFC 4180, with any of the three line ends; a quote may stand only around a whole cell."""
    line: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == '"':
            cell, at = _quoted(text, at + 1)
        else:
            end = next((place for place in range(at, len(text)) if text[place] in ",\r\n"), len(text))
            cell, at = text[at:end], end
        line.append(cell)
        if at < len(text) and text[at] == ",":
            at += 1
            if at == len(text):
                line.append("")
            continue
        if at < len(text) and text[at] not in "\r\n":
            raise Refused("quotes")
        at += 2 if text[at : at + 2] == "\r\n" else 1
        yield line
        line = []
    if line:
        yield line


def _quoted(text: str, at: int) -> tuple[str, int]:
    pieces = []
    while True:
        end = text.find('"', at)
        if end < 0:
            raise Refused("an open quote")
        pieces.append(text[at:end])
        if text[end + 1 : end + 2] != '"':
            return '"'.join(pieces), end + 1
        at = end + 2


def _json_lines(text: str) -> list[Row]:
    rows = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as fault:
            raise Refused("JSON") from fault
        if not isinstance(row, dict) or any(isinstance(value, dict | list) for value in row.values()):
            raise Refused("no plain object")
        rows.append({name: "" if value is None else str(value) for name, value in row.items()})
    return rows


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise Refused("a name twice")
    return dict(pairs)


def _parquet(path: Path) -> list[Row]:
    try:
        rows = pq.read_table(path, page_checksum_verification=False).to_pylist()
    except (OSError, pa.ArrowException, ValueError) as fault:
        raise Refused("Parquet") from fault
    return [{name: _told(value) for name, value in row.items()} for row in rows]


def _told(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)
