"""A source of films and reports into a dataset folder: in order, in flat memory, by any number of workers."""

import errno
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mmil_cli import __version__
from mmil_cli.data.convert import Example, Rejection
from mmil_cli.data.earlier import EarlierRows
from mmil_cli.data.exclusion import exclude, keep_only
from mmil_cli.data.info import REJECTED_FILE, DatasetInfo
from mmil_cli.data.labeler import labelled_by_reports
from mmil_cli.data.manifest import Manifest, Record, RecordReason, check_manifest, fingerprint
from mmil_cli.data.pixels import DEFAULT_ENCODING, Encoding
from mmil_cli.data.progress import Plan, Workshop, finished_dataset
from mmil_cli.data.pseudonyms import check_crosswalk, write_crosswalk
from mmil_cli.data.shards import Layout, ShardWriter, count_splits
from mmil_cli.data.sources.find import find_records
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.splits import assign_splits, check_split_names
from mmil_cli.errors import DataError, MmilError, UsageError
from mmil_cli.stages.conversion import Conversion, Listed, Outcome
from mmil_cli.stages.workers import Inline, Processes, Workers, in_order

DEFAULT_SIDE = 512
DEFAULT_MAX_REJECTED = 0.5
SHARD_ROWS = 1024

Progress = Callable[[int, int, Mapping[str, int]], None]
"""Called with records done, records in all, and those left out so far by reason, after every record."""


@dataclass(frozen=True)
class PreprocessResult:
    """What was made.

    Attributes:
        folder: the dataset folder.
        already_there: the same dataset lay there before, and nothing was done.
        resumed: records that an interrupted run had done before.
        taken_over: rows of the dataset that lay there, of whose records nothing has changed.
        notes: what the user should know about the source.
    """

    folder: Path
    info: DatasetInfo
    already_there: bool
    resumed: int
    taken_over: int
    notes: tuple[str, ...]


def run(
    source: Path,
    out: Path,
    *,
    source_options: SourceOptions | None = None,
    exclusions: Path | None = None,
    only: Path | None = None,
    crosswalk: Path | None = None,
    side: int = DEFAULT_SIDE,
    encoding: Encoding = DEFAULT_ENCODING,
    seed: int = 0,
    label_reports: bool = False,
    keep_burned_in: bool = False,
    max_rejected: float = DEFAULT_MAX_REJECTED,
    overwrite: bool = False,
    workers: int = 0,
    scheduler: str | None = None,
    shard_rows: int = SHARD_ROWS,
    on_progress: Progress | None = None,
) -> PreprocessResult:
    """Make a dataset folder of a source.

    The bytes written depend on the source and the options alone: not on `workers`, `scheduler`, or how often
    the run was interrupted and started again, or the source grew in between. Unusable records are left out,
    counted, and listed in `rejected.csv`. Where a dataset of the same options lies at `out` and the source
    has new records, only those are read.

    Args:
        source: a table, or the folder of an archive; see `SOURCES`.
        out: the dataset folder; it appears when all is done.
        source_options: what to ask of the source.
        exclusions: a list of images, studies or patients to leave out (`data.exclusion`); they count as
            rejected for the reason `excluded`, but not towards `max_rejected`.
        only: such a list of what to keep; all else is left out in the same way.
        crosswalk: where to write which record each pseudonym stands for, readable by its owner alone.
        side: pixels of the long side of a stored film; smaller films are not enlarged.
        encoding: how pixels are stored.
        seed: of the split by patient, where the source names no splits.
        label_reports: take CheXpert's 14 labels from the reports, in place of the source's own.
        keep_burned_in: keep films whose headers say that text is burned into them.
        max_rejected: share of the records beyond which the run fails.
        overwrite: replace another dataset at `out`, or another interrupted run for it.
        workers: processes that read films; 0 reads them in this process, which a film may crash.
        scheduler: address of a Dask scheduler whose workers take the place of local processes.
        shard_rows: rows of a shard.
        on_progress: told after every record.

    Raises:
        UsageError: an option or the source cannot be used, something else lies at `out`, another run works
            there, or rows that lie there are gone from the source.
        DataError: the source contradicts itself, or too many of its records are unusable.
        MmilError: the disk is full, or no worker can be had.
    """
    check_options(side=side, workers=workers, max_rejected=max_rejected, seed=seed)
    options = source_options or SourceOptions()
    if crosswalk:
        check_crosswalk(crosswalk, out, options.pseudonyms)
    manifest = list_records(source, options, exclusions, only, crosswalk, seed, label_reports=label_reports)
    listed = Listed.of(manifest)
    asked = {"side": side, "encoding": str(encoding), "seed": seed, "shard_rows": shard_rows}
    plan = plan_of(listed, asked, keep_burned_in=keep_burned_in)
    with Workshop(out) as workshop:
        info = finished_dataset(out, plan, overwrite=overwrite)
        if info and info.source == plan.source:
            workshop.remove()
            return PreprocessResult(out, info, True, len(listed), len(listed), manifest.notes)
        earlier = EarlierRows(out, info, manifest, listed.states) if info else None
        root = None if options.pseudonyms else manifest.root
        layout = Layout(manifest.label_names, encoding, side, root, shard_rows, options.study_days)
        work = Conversion(manifest.root, manifest.label_names, side, encoding, label_reports, keep_burned_in)
        with _told_when_full(out):
            workshop.start(plan, listed.states, overwrite=overwrite)
            with closing(ShardWriter(workshop, layout)) as writer:
                resumed = writer.records
                with _workers(workers, scheduler, manifest.root) as pool:
                    _write(writer, pool, work, listed, earlier, on_progress)
                _check_rejected(writer, workshop, len(listed), max_rejected)
                info = writer.publish(plan, _versions(), count_splits(manifest.records, writer.kept))
    notes = (*manifest.notes, *_change_notes(plan, info))
    return PreprocessResult(out, info, False, resumed, len(earlier) if earlier else 0, notes)


def _change_notes(plan: Plan, info: DatasetInfo) -> list[str]:
    if plan.source == info.source:
        return []
    return ["files of the source changed while they were read; the dataset has each as it was when read"]


def list_records(
    source: Path,
    options: SourceOptions,
    exclusions: Path | None,
    only: Path | None,
    crosswalk: Path | None,
    seed: int,
    *,
    label_reports: bool,
) -> Manifest:
    """The checked records of a source, exclusions marked, all with a split where the source names none.

    Arguments and errors are those of `run`.
    """
    if label_reports and options.labels is not None:
        raise UsageError(
            "--labels takes the labels from columns and --label-reports from the reports; give one of them"
        )
    if label_reports and options.labels_only:
        raise UsageError("--label-reports needs the reports that --labels-only leaves out; give one of them")
    manifest = find_records(source, options)
    if crosswalk and options.pseudonyms:
        write_crosswalk(crosswalk, manifest, options.pseudonyms)
    if label_reports:
        manifest = labelled_by_reports(manifest)
    check_manifest(manifest)
    check_split_names(manifest.records)
    if exclusions:
        manifest = exclude(manifest, exclusions, options.pseudonyms)
    if only:
        manifest = keep_only(manifest, only, options.pseudonyms)
    return replace(manifest, records=assign_splits(manifest.records, seed=seed))


def plan_of(listed: Listed, asked: Mapping[str, Any], *, keep_burned_in: bool) -> Plan:
    """What a dataset of these records is made of; `asked` are the options that are no source's own."""
    manifest = listed.manifest
    burned_in = {"burned_in": "kept"} if keep_burned_in else {}
    options = {**asked, "source": manifest.kind, **dict(manifest.options), **burned_in}
    return Plan(options, fingerprint(listed.states))


def _workers(number: int, scheduler: str | None, root: Path) -> Workers:
    if scheduler is not None:
        from mmil_cli.stages.dask_workers import DaskWorkers

        return DaskWorkers(scheduler, root)
    return Processes(number) if number else Inline()


def _write(
    writer: ShardWriter,
    workers: Workers,
    work: Conversion,
    listed: Listed,
    earlier: EarlierRows | None,
    on_progress: Progress | None,
) -> None:
    """Write the outcomes of all records that are not done, and what does not fill a shard."""

    def ready(item: tuple[Record, bytes]) -> Outcome | None:
        row = earlier.row(item[1]) if earlier else None
        return None if row is None else (row, item[1])

    items = listed.since(writer.records)
    outcomes = in_order(workers, work, items, ready=ready, crashed=work.crashed)
    for done, (outcome, state) in enumerate(outcomes, start=writer.records + 1):
        if isinstance(outcome, Example | Rejection):
            writer.add(outcome, state=state)
        else:
            writer.add_row(outcome, state=state)
        if on_progress:
            on_progress(done, len(listed), writer.rejected)
    writer.flush()


@contextmanager
def _told_when_full(out: Path) -> Iterator[None]:
    """A disk that is full, or a limit of the size of files, as a sentence of what is kept."""
    try:
        yield
    except OSError as fault:
        if fault.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise MmilError(
            f"there is no room for {out} ({os.strerror(fault.errno)}); finished shards are kept, and so is a "
            "dataset that lay there before: make room and give the same command again, it goes on from them"
        ) from fault


def check_options(*, side: int, workers: int, max_rejected: float, seed: int) -> None:
    """Refuse values that no run takes."""
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed is {seed}; give 0 or a positive whole number below 2^63")
    if side < 32:
        raise UsageError(f"--side is {side} pixels; films smaller than 32 show nothing")
    if workers < 0:
        raise UsageError(f"--workers is {workers}; it must be 1 or more")
    if not 0 <= max_rejected <= 1:
        raise UsageError(f"--max-rejected is {max_rejected}; it is a share of the records, from 0 to 1")


def _check_rejected(writer: ShardWriter, workshop: Workshop, total: int, most: float) -> None:
    """Refuse a dataset of nothing, or of too little of the records that were wanted."""
    excluded = writer.rejected.get(RecordReason.EXCLUDED, 0)
    if excluded == total:
        raise DataError(
            f"--exclude and --only leave none of the {total} records of the source; change the lists"
        )
    total -= excluded
    count = sum(writer.rejected.values()) - excluded
    if count <= most * total and count < total:
        return
    reasons = ", ".join(f"{reason} {number}" for reason, number in writer.rejected.items())
    way_out = "" if count == total else "; mend the source, or allow a larger share with --max-rejected"
    raise DataError(
        f"{count} of {total} records cannot be used ({reasons}): {workshop.dataset / REJECTED_FILE} lists "
        f"each with its fault{way_out}"
    )


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("numpy", "pillow", "pyarrow", "pydicom")}
    return {"mmil": __version__, "python": platform.python_version(), **packages}
