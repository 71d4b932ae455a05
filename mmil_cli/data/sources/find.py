"""Which source a path is."""

import os
from collections import deque
from dataclasses import replace
from itertools import islice
from pathlib import Path

from mmil_cli.data.dates import with_study_days, without_dates
from mmil_cli.data.manifest import Manifest
from mmil_cli.data.on_disk import Mapped
from mmil_cli.data.pseudonyms import pseudonymised
from mmil_cli.data.sources import chexpert, dicoms, mimic, nih, openi, padchest, roco, rsna, table, vindr
from mmil_cli.data.sources.films import is_left_over
from mmil_cli.data.sources.options import FLAGS, SourceOptions
from mmil_cli.data.sources.source import Source
from mmil_cli.data.tables import TABLE_SUFFIXES
from mmil_cli.errors import DataError, UsageError, listing, nearest

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        table.SOURCE,
        mimic.SOURCE,
        openi.SOURCE,
        chexpert.SOURCE,
        nih.SOURCE,
        padchest.SOURCE,
        rsna.SOURCE,
        vindr.SOURCE,
        roco.SOURCE,
        dicoms.SOURCE,
    )
}
"""All sources; `dicoms`, which any folder with a DICOM file is, is tried only where no other fits."""

_ARCHIVES = [source for source in SOURCES.values() if source is not dicoms.SOURCE]

_PLACES_LOOKED_AT = 40
_LEVELS_LOOKED_AT = 4
"""How far is looked for an archive below: `wget -r` puts one at physionet.org/files/mimic-cxr-jpg/2.1.0."""


def find_records(path: Path, options: SourceOptions) -> Manifest:
    """List the records of a source, which is named by the options or shows in the files of the path.

    Raises:
        UsageError: there is nothing at the path, nothing that is known, or an option that is not its own.
        DataError: the archive lacks what it needs.
    """
    source = _named(options.source, path) if options.source else _recognised(path)
    _check_options(source, options, path)
    manifest = source.find(path, options)
    manifest = _without_reports(manifest, source) if options.labels_only else manifest
    manifest = with_study_days(manifest) if options.study_days else without_dates(manifest)
    if options.pseudonyms:
        manifest = pseudonymised(manifest, options.pseudonyms, named=source.names_ids)
    return manifest


def _named(name: str, path: Path) -> Source:
    if name not in SOURCES:
        raise UsageError(f"--source {name} is not known{nearest(name, SOURCES)}; known: {', '.join(SOURCES)}")
    source = SOURCES[name]
    if not path.exists():
        raise UsageError(f"{path} does not exist; {source.title} is {source.needs}")
    if not source.recognises(path):
        raise UsageError(f"{path} is not {source.title}, which is {source.needs}{_instead(path)}")
    return source


def _recognised(path: Path) -> Source:
    if not path.exists():
        raise UsageError(f"{path} does not exist; {_known()}")
    fitting = [source for source in _ARCHIVES if source.recognises(path)]
    if len(fitting) > 1:
        names = " or ".join(f"--source {source.name}" for source in fitting)
        raise UsageError(f"{path} looks like more than one kind of archive; say which with {names}")
    if fitting:
        return fitting[0]
    if whole := mimic.root_of_part(path):
        raise UsageError(
            f"{path} is a part of {whole} ({mimic.SOURCE.title}): give that folder, and --only LIST to choose"
        )
    if inner := _archives_below(path):
        films = "; --source dicoms takes all DICOM files there are, without tables"
        raise UsageError(
            f"{path} is no archive itself, but holds {listing(inner, 3)}: give that folder"
            f"{films if dicoms.SOURCE.recognises(path) else ''}"
        )
    if dicoms.SOURCE.recognises(path):
        return dicoms.SOURCE
    raise UsageError(f"{path} is no source of films and reports{_instead(path)}; {_known()}")


def _archives_below(path: Path) -> list[str]:
    """The archives that lie a few folders deeper than was said, as `folder (what it is)`."""
    found: list[str] = []
    waiting = deque((place, 1) for place in _folders(path))
    for _ in range(_PLACES_LOOKED_AT):
        if not waiting:
            break
        place, depth = waiting.popleft()
        kind = next((source for source in _ARCHIVES if source.recognises(place)), None)
        if kind:
            found.append(f"{place} ({kind.title})")
        elif depth < _LEVELS_LOOKED_AT:
            waiting.extend((inner, depth + 1) for inner in _folders(place))
    return found


def _folders(path: Path) -> list[Path]:
    """Some of the folders in a folder."""
    try:
        with os.scandir(path) as entries:
            inner = (path / e.name for e in entries if e.is_dir() and not is_left_over(e.name))
            return sorted(islice(inner, _PLACES_LOOKED_AT))
    except OSError:
        return []


def _known() -> str:
    kinds = ", ".join(f"{source.name} ({source.title})" for source in SOURCES.values())
    return f"known are {kinds}; --source NAME tells what one of them is made of"


def _instead(path: Path) -> str:
    """A clause that names what the path is instead, or a table of the folder, if there is one."""
    for source in SOURCES.values():
        if source.recognises(path):
            return f"; it looks like {source.title} (--source {source.name})"
    return _table_in(path)


def _table_in(path: Path) -> str:
    """A clause that names a table of the folder, which may be what was meant."""
    if not path.is_dir():
        return ""
    names = (file.name for file in path.iterdir() if not is_left_over(file.name))
    tables = sorted(name for name in names if name.lower().endswith(TABLE_SUFFIXES))
    return f"; did you mean {path / tables[0]}?" if tables else ""


def _check_options(source: Source, options: SourceOptions, path: Path) -> None:
    """Refuse what this kind of source would not heed."""
    foreign = [name for name in options.given() if name not in source.takes]
    if foreign:
        flags = ", ".join(FLAGS[name] for name in foreign)
        owners = [other.name for other in SOURCES.values() if other.takes >= set(foreign)]
        raise UsageError(
            f"{flags} is no option of {source.title}; it belongs to: "
            f"{', '.join(owners) or 'different sources'}"
        )
    for name in ("root", "tables", "reports"):
        place: Path | None = getattr(options, name)
        if place is not None and not place.exists():
            raise UsageError(f"{FLAGS[name]}: {place} does not exist; check its spelling, or leave it out")
    if options.study_days and not source.has_dates:
        dated = ", ".join(other.name for other in SOURCES.values() if other.has_dates)
        raise UsageError(f"--study-days needs dates, and {source.title} tells none; those do: {dated}")
    if options.labels_only and not source.has_labels:
        raise UsageError(
            f"--labels-only needs labels, and {source.title} has none; leave it out{_table_in(path)}"
        )
    if not source.has_reports and not options.labels_only:
        raise UsageError(
            f"{source.title} has labels but no reports; --labels-only makes a dataset of films and labels "
            "for mmil probe and mmil ground --phrases (pretrain and retrieve need reports)"
        )


def _without_reports(manifest: Manifest, source: Source) -> Manifest:
    """The same films with their labels alone.

    Raises:
        DataError: there are no labels either.
    """
    if not manifest.label_names:
        raise DataError(
            f"{manifest.root} gives no label, so --labels-only would leave bare films; {source.title} is "
            f"{source.needs}"
        )
    records = Mapped(
        manifest.records,
        lambda record: replace(record, report=None, report_path=None, needs_report=False),
    )
    return replace(manifest, records=records, options=(*manifest.options, ("labels_only", "yes")))
