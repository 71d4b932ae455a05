"""Writing files and folders so that a pulled plug leaves the old one or the new one, never half."""

import errno
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def make_folder(folder: Path) -> None:
    """Makes an output folder before long work begins, not to learn after it that nothing can be written.

    Raises:
        OSError: a file stands there, or nothing may be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, "nothing may be written there", str(folder))


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` make a file beside `path`, flushes it to disk, and renames it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        _flush(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Removes a file, and what a process that was killed while writing it may have left beside it."""
    path.unlink(missing_ok=True)
    path.with_name(f".{path.name}.partial").unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, UTF-8."""
    write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a binary file atomically."""
    write_atomic(path, lambda partial: partial.write_bytes(content))


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON atomically; NaN is written as null, for JSON has none."""
    write_text(path, json.dumps(without_nan(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def replace_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Fills a folder aside and renames it into place; an older folder of that name goes only then."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial, old = _beside(folder, "partial"), _beside(folder, "old")
    recover_folder(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        fill(partial)
        for path in partial.rglob("*"):
            if path.is_file():
                _flush(path)
        if folder.exists():
            folder.replace(old)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Puts the older folder back if a plug was pulled between the two renames of `replace_folder`."""
    old = _beside(folder, "old")
    if old.exists() and not folder.exists():
        old.replace(folder)


def _beside(folder: Path, what: str) -> Path:
    """A hidden neighbour of a folder, however the folder is spelt: `.` and `runs/..` have names too."""
    spelt = Path(os.path.abspath(folder))  # noqa: PTH100 - `resolve` would go to what a link points to
    return spelt.parent / f".{spelt.name}.{what}"


def without_nan(value: Any) -> Any:
    """The same nested value with every NaN or infinity as None."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _flush(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
