"""Which source a path is."""

from collections.abc import Callable
from pathlib import Path

from mmil_cli.data.manifest import Manifest
from mmil_cli.data.sources import mimic, table
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.tables import TABLE_SUFFIXES
from mmil_cli.errors import UsageError

_KNOWN = (
    f"known are a table of one row an image ({', '.join(TABLE_SUFFIXES)}) and the folder of a MIMIC-CXR tree "
    "(files/p10/p10000032/s50414267/*.dcm)"
)


def find_records(path: Path, options: SourceOptions) -> Manifest:
    """List the records of a source, whose kind shows in its path.

    Raises:
        UsageError: there is nothing at the path, or nothing that is known.
    """
    return _source(path)(path, options)


def _source(path: Path) -> Callable[[Path, SourceOptions], Manifest]:
    if path.is_file() and path.name.lower().endswith(TABLE_SUFFIXES):
        return table.find
    if path.is_dir() and mimic.is_tree(path):
        return mimic.find
    if not path.exists():
        raise UsageError(f"{path} does not exist; {_KNOWN}")
    hint = ""
    if path.is_dir():
        tables = sorted(file.name for file in path.iterdir() if file.name.lower().endswith(TABLE_SUFFIXES))
        hint = f"; did you mean {path / tables[0]}?" if tables else ""
    raise UsageError(f"{path} is no source of films and reports{hint}; {_KNOWN}")
