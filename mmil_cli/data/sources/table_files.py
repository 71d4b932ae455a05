"""The tables of an archive, as they lie there: plain or packed with gzip, their suffix in either case."""

import gzip
import zlib
from pathlib import Path

from mmil_cli.data.tables import CSV_SUFFIXES


def table_named(folder: Path, name: str) -> Path | None:
    """The table called `name` (`train.csv`) in a folder, the plain one first; None where there is none."""
    stem = name.removesuffix(".csv")
    forms = [folder / f"{stem}{form}" for suffix in CSV_SUFFIXES for form in (suffix, suffix.upper())]
    return next((form for form in forms if form.is_file()), None)


def tables_like(folder: Path, start: str) -> list[Path]:
    """The tables whose names begin so, in order; packed ones only where none is plain."""
    found = [path for path in sorted(folder.glob(f"{start}*")) if path.name.lower().endswith(CSV_SUFFIXES)]
    return [path for path in found if path.suffix.lower() != ".gz"] or found


def first_line(table: Path) -> bytes:
    """The names of its columns, as far as they can be read."""
    opening = gzip.open if table.suffix.lower() == ".gz" else open
    try:
        with opening(table, "rb") as handle:
            return handle.readline(4000)
    except (OSError, EOFError, zlib.error):
        return b""
