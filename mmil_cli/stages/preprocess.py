"""A source of films and reports into a dataset folder: in order, in flat memory, by any number of workers."""

import multiprocessing
import platform
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

from mmil_cli import __version__
from mmil_cli.data.convert import Example, Rejection, convert
from mmil_cli.data.exclusion import exclude, keep_only
from mmil_cli.data.info import REJECTED_FILE, DatasetInfo
from mmil_cli.data.labeler import labelled_by_reports
from mmil_cli.data.manifest import Manifest, Record, RecordReason, check_manifest, fingerprint
from mmil_cli.data.pixels import DEFAULT_ENCODING, Encoding
from mmil_cli.data.progress import Plan, Workshop, finished_dataset
from mmil_cli.data.pseudonyms import check_crosswalk, write_crosswalk
from mmil_cli.data.shards import Layout, ShardWriter
from mmil_cli.data.sources.find import find_records
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.data.splits import assign_splits
from mmil_cli.errors import DataError, MmilError, UsageError, listing

DEFAULT_SIDE = 512
DEFAULT_MAX_REJECTED = 0.5
SHARD_ROWS = 1024

P = ParamSpec("P")
T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with (records done, records in all) after every record."""

_IN_FLIGHT = 8
"""Records handed out ahead for each worker: it stays busy past a slow one, and memory stays flat."""


@dataclass(frozen=True)
class PreprocessResult:
    """What was made.

    Attributes:
        folder: the dataset folder.
        already_there: the same dataset lay there before, and nothing was done.
        resumed: records that an interrupted run had done before.
        notes: what the user should know about the source.
    """

    folder: Path
    info: DatasetInfo
    already_there: bool
    resumed: int
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
    workers: int = 1,
    executor: Executor | None = None,
    shard_rows: int = SHARD_ROWS,
    on_progress: Progress | None = None,
) -> PreprocessResult:
    """Make a dataset folder of a source.

    The bytes written depend on the source and the options alone: not on `workers`, `executor`, or how often
    the run was interrupted and started again. Unusable records are left out, counted, and listed in
    `rejected.csv`.

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
        workers: processes that read films; 1 works in this process.
        executor: takes the place of the local processes; `workers` still sets how much is handed out ahead.
        shard_rows: rows of a shard.
        on_progress: told after every record.

    Raises:
        UsageError: an option or the source cannot be used, or something else lies at `out`.
        DataError: the source contradicts itself, or too many of its records are unusable.
    """
    _check_options(side=side, workers=workers, max_rejected=max_rejected, seed=seed)
    options = source_options or SourceOptions()
    if crosswalk:
        check_crosswalk(crosswalk, out, options.pseudonyms)
    manifest = _listed(source, options, exclusions, only, crosswalk, seed, label_reports=label_reports)
    if keep_burned_in:
        manifest = replace(manifest, options=(*manifest.options, ("burned_in", "kept")))
    plan = _plan(manifest, side=side, encoding=encoding, seed=seed, shard_rows=shard_rows)
    info = finished_dataset(out, plan, overwrite=overwrite)
    workshop = Workshop(out)
    if info:
        workshop.remove()
        return PreprocessResult(out, info, True, len(manifest.records), manifest.notes)
    workshop.start(plan, overwrite=overwrite)
    root = None if options.pseudonyms else manifest.root
    layout = Layout(manifest.label_names, encoding, side, root, shard_rows, options.study_days)
    work = partial(
        convert,
        side=side,
        encoding=encoding,
        label_reports=label_reports,
        keep_burned_in=keep_burned_in,
    )
    with closing(ShardWriter(workshop, layout)) as writer:
        resumed = writer.records
        with _executor(executor, workers) as pool:
            outcomes = _in_order(pool, work, manifest.records[resumed:], ahead=_IN_FLIGHT * workers)
            _write(writer, outcomes, len(manifest.records), on_progress)
        _check_rejected(writer, workshop, len(manifest.records), max_rejected)
        info = writer.publish(plan, _versions())
    return PreprocessResult(out, info, False, resumed, manifest.notes)


def _listed(
    source: Path,
    options: SourceOptions,
    exclusions: Path | None,
    only: Path | None,
    crosswalk: Path | None,
    seed: int,
    *,
    label_reports: bool,
) -> Manifest:
    """The checked records of a source, exclusions marked, all with a split where the source names none."""
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
    if exclusions:
        manifest = exclude(manifest, exclusions, options.pseudonyms)
    if only:
        manifest = keep_only(manifest, only, options.pseudonyms)
    return replace(manifest, records=assign_splits(manifest.records, seed=seed))


def _plan(manifest: Manifest, *, side: int, encoding: Encoding, seed: int, shard_rows: int) -> Plan:
    options = {"side": side, "encoding": str(encoding), "seed": seed, "shard_rows": shard_rows}
    return Plan({**options, "source": manifest.kind, **dict(manifest.options)}, fingerprint(manifest))


def _write(
    writer: ShardWriter, outcomes: Iterable[Example | Rejection], total: int, on_progress: Progress | None
) -> None:
    """Write all outcomes, and what does not fill a shard."""
    for done, outcome in enumerate(outcomes, start=writer.records + 1):
        writer.add(outcome)
        if on_progress:
            on_progress(done, total)
    writer.flush()


def _in_order(
    pool: Executor,
    work: Callable[[Record], Example | Rejection],
    records: Iterable[Record],
    *,
    ahead: int,
) -> Iterator[Example | Rejection]:
    """Outcomes in the order of the records, with never more than `ahead` of them waiting."""
    remaining = iter(records)
    waiting: deque[tuple[Record, Future[Example | Rejection]]] = deque()
    try:
        waiting.extend((record, pool.submit(work, record)) for record in islice(remaining, ahead))
        while waiting:
            outcome = waiting[0][1].result()
            waiting.popleft()
            waiting.extend((record, pool.submit(work, record)) for record in islice(remaining, 1))
            yield outcome
    except BrokenProcessPool as fault:
        near = listing([record.image_id for record, _ in waiting], 4)
        raise MmilError(
            f"a worker process died (out of memory, or a crash in an image library) near the images {near}; "
            "finished shards are kept and the same command goes on from there: give it fewer --workers if "
            "memory was short, or take the film out that cannot be read"
        ) from fault


class InlineExecutor(Executor):
    """An executor that does the work at once, in this process."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the call and return its result as a finished future; an exception passes through."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def _executor(given: Executor | None, workers: int) -> Iterator[Executor]:
    """The executor to use; one of our own drops what it has not begun when the run fails."""
    if given is not None:
        yield given
        return
    # Spawned, not forked: a fork copies locks that threads of the image libraries may hold.
    context = multiprocessing.get_context("spawn")
    pool = (
        InlineExecutor()
        if workers == 1
        else ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_parent)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_parent() -> None:
    """Ctrl-C reaches every process of a terminal; only the parent should answer it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check_options(*, side: int, workers: int, max_rejected: float, seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed is {seed}; give 0 or a positive whole number below 2^63")
    if side < 32:
        raise UsageError(f"--side is {side} pixels; films smaller than 32 show nothing")
    if workers < 1:
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
