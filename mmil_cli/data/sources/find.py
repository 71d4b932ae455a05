"""Which source a path is."""

from dataclasses import replace
from pathlib import Path

from mmil_cli.data.dates import with_study_days, without_dates
from mmil_cli.data.manifest import Manifest
from mmil_cli.data.on_disk import Mapped
from mmil_cli.data.pseudonyms import pseudonymised
from mmil_cli.data.sources import chexpert, dicoms, mimic, nih, openi, padchest, roco, rsna, table, vindr
from mmil_cli.data.sources.options import FLAGS, SourceOptions
from mmil_cli.data.sources.source import Source
from mmil_cli.data.tables import TABLE_SUFFIXES
from mmil_cli.errors import DataError, UsageError, nearest

GENERATED_FILE = "phantom.json"
"""Lies beside the files of generated studies; what is learned from them says so wherever it goes."""

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


def find_records(path: Path, options: SourceOptions) -> Manifest:
    """List the records of a source, which is named by the options or shows in the files of the path.

    Raises:
        UsageError: there is nothing at the path, nothing that is known, or an option that is not its own.
        DataError: the archive lacks what it needs.
    """
    source = _named(options.source, path) if options.source else _recognised(path)
    _check_options(source, options)
    manifest = source.find(path, options)
    if (path / GENERATED_FILE).is_file():
        manifest = replace(manifest, options=(*manifest.options, ("generated", "yes")))
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
    fitting = [source for source in SOURCES.values() if source is not dicoms.SOURCE]
    fitting = [source for source in fitting if source.recognises(path)]
    if len(fitting) > 1:
        names = " or ".join(f"--source {source.name}" for source in fitting)
        raise UsageError(f"{path} looks like more than one kind of archive; say which with {names}")
    if fitting:
        return fitting[0]
    if dicoms.SOURCE.recognises(path):
        return dicoms.SOURCE
    raise UsageError(f"{path} is no source of films and reports{_instead(path)}; {_known()}")


def _known() -> str:
    kinds = ", ".join(f"{source.name} ({source.title})" for source in SOURCES.values())
    return f"known are {kinds}; --source NAME tells what one of them is made of"


def _instead(path: Path) -> str:
    """A clause that names what the path is instead, or a table of the folder, if there is one."""
    for source in SOURCES.values():
        if source.recognises(path):
            return f"; it looks like {source.title} (--source {source.name})"
    if not path.is_dir():
        return ""
    tables = sorted(file.name for file in path.iterdir() if file.name.lower().endswith(TABLE_SUFFIXES))
    return f"; did you mean {path / tables[0]}?" if tables else ""


def _check_options(source: Source, options: SourceOptions) -> None:
    """Refuse what this kind of source would not heed."""
    foreign = [name for name in options.given() if name not in source.takes]
    if foreign:
        flags = ", ".join(FLAGS[name] for name in foreign)
        owners = [other.name for other in SOURCES.values() if other.takes >= set(foreign)]
        raise UsageError(
            f"{flags} is no option of {source.title}; it belongs to: "
            f"{', '.join(owners) or 'different sources'}"
        )
    if options.study_days and not source.has_dates:
        dated = ", ".join(other.name for other in SOURCES.values() if other.has_dates)
        raise UsageError(f"--study-days needs dates, and {source.title} tells none; those do: {dated}")
    if options.labels_only and not source.has_labels:
        raise UsageError(f"--labels-only needs labels, and {source.title} has none; leave it out")
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
