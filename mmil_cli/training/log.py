"""The log of a run: one JSON object a line, for a person and for a program."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmil_cli.files import without_nan, write_text
from mmil_cli.training.sinks import Sink, numbers_of

Entry = dict[str, Any]


class RunLog:
    """Appends entries to a JSON Lines file; every entry has its `kind` and its `step`.

    Args:
        path: the file.
        first_step: a resumed run writes again all steps after this one, so later entries are dropped.
        is_validated: whether the validation after that step is not to come again.
        sinks: get the numbers of every entry too.
    """

    def __init__(
        self, path: Path, *, first_step: int, is_validated: bool = True, sinks: Sequence[Sink] = ()
    ) -> None:
        self.path, self.sinks = path, sinks
        last = {"validate": first_step if is_validated else first_step - 1}
        found = read_log(path) if first_step else []
        kept = [entry for entry in found if entry["step"] <= last.get(entry["kind"], first_step)]
        write_text(path, "".join(_line(entry) for entry in kept))

    def write(self, kind: str, step: int, **values: Any) -> Entry:
        """Writes one entry and returns it."""
        entry = {"kind": kind, "step": step, **values}
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(_line(entry))
        for sink in self.sinks:
            sink.write(kind, step, numbers_of(values))
        return entry

    def close(self) -> None:
        """Nothing more comes."""
        for sink in self.sinks:
            sink.close()


def read_log(path: Path) -> list[Entry]:
    """All whole entries; a last line cut off by a pulled plug is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def _line(entry: Entry) -> str:
    return json.dumps(without_nan(entry), allow_nan=False) + "\n"
