"""What preprocess would come to: faults first, then counts; time and disk judged from a sample."""

import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmil_cli.data.convert import Example, Rejection
from mmil_cli.data.encoding import Encoding
from mmil_cli.data.manifest import STATE_BYTES, Manifest, Record, RecordReason
from mmil_cli.data.reasons import Reason
from mmil_cli.errors import listing
from mmil_cli.stages.conversion import Conversion
from mmil_cli.stages.workers import Processes, in_order

SAMPLE = 32
_SHOWN = 3
_ROW_BYTES = 700
"""Of a row beside its film and its texts: ids, sizes, and what Arrow adds."""


@dataclass(frozen=True)
class DryRun:
    """What a run would come to.

    Attributes:
        records: of the source.
        faults: of all records, by reason, with a few image ids; what shows without a film being read.
        sampled: films that were read.
        sample_faults: of these, by reason, likewise.
        films: records that have no fault yet.
        splits: of these, by split.
        seconds: of work for all of them, by one worker; None without a film.
        bytes_needed: on disk for all of them; None without a film.
        bytes_free: where the dataset would lie.
        notes: on the source.
    """

    records: int
    faults: Mapping[str, tuple[int, str]]
    sampled: int
    sample_faults: Mapping[str, tuple[int, str]]
    films: int
    splits: Mapping[str, int]
    seconds: float | None
    bytes_needed: int | None
    bytes_free: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Sampled:
    """A film that was read: what it takes."""

    outcome: Example | Rejection
    seconds: float


@dataclass(frozen=True)
class _Timed:
    """A conversion with its time; pickled, it goes to the worker."""

    work: Conversion

    def __call__(self, record: Record) -> _Sampled:
        started = time.perf_counter()
        outcome, _ = self.work((record, bytes(STATE_BYTES)))
        assert isinstance(outcome, Example | Rejection)
        return _Sampled(outcome, time.perf_counter() - started)

    def crashed(self, record: Record) -> _Sampled:
        outcome, _ = self.work.crashed((record, bytes(STATE_BYTES)))
        assert isinstance(outcome, Rejection)
        return _Sampled(outcome, 0.0)


def run(
    manifest: Manifest,
    out: Path,
    *,
    side: int,
    encoding: Encoding,
    label_reports: bool = False,
    keep_burned_in: bool = False,
) -> DryRun:
    """Look at every record and read a few films, evenly spaced; nothing is written.

    Args:
        manifest: of `preprocess.list_records`.
        out: the dataset folder that would be made.
        side: as of `preprocess.run`.
        encoding: likewise.
        label_reports: likewise.
        keep_burned_in: likewise.
    """
    faults, splits, films = _looked_at(manifest)
    work = _Timed(
        Conversion(manifest.root, manifest.label_names, side, encoding, label_reports, keep_burned_in)
    )
    chosen = _evenly(manifest, films)
    with Processes(1) as pool:
        sample = list(in_order(pool, work, chosen, ready=lambda _: None, crashed=work.crashed))
    lost: defaultdict[str, list[str]] = defaultdict(list)
    for item in sample:
        if isinstance(item.outcome, Rejection):
            lost[item.outcome.reason].append(item.outcome.record.image_id)
    sizes = [_size(item.outcome) for item in sample if isinstance(item.outcome, Example)]
    return DryRun(
        records=len(manifest.records),
        faults=faults,
        sampled=len(sample),
        sample_faults={reason: (len(ids), listing(ids, _SHOWN)) for reason, ids in lost.items()},
        films=films,
        splits=splits,
        seconds=sum(item.seconds for item in sample) / len(sample) * films if sample else None,
        bytes_needed=round(sum(sizes) / len(sample) * films) if sizes else None,
        bytes_free=shutil.disk_usage(_existing(out.absolute())).free,
        notes=manifest.notes,
    )


def _looked_at(manifest: Manifest) -> tuple[dict[str, tuple[int, str]], dict[str, int], int]:
    """Faults with their counts and a few ids, films by split, and the number of films."""
    counts: Counter[str] = Counter()
    ids: defaultdict[str, list[str]] = defaultdict(list)
    splits: Counter[str] = Counter()
    for record in manifest.records:
        reason = _fault(record)
        if reason is None:
            splits[str(record.split)] += 1
            continue
        counts[reason] += 1
        if len(ids[reason]) <= _SHOWN:
            ids[reason].append(record.image_id)
    told = {reason: (count, _few(ids[reason], count)) for reason, count in counts.most_common()}
    return told, dict(splits.most_common()), splits.total()


def _few(ids: list[str], count: int) -> str:
    shown = ", ".join(ids[:_SHOWN])
    return f"{shown} and {count - _SHOWN} more" if count > _SHOWN else shown


def _fault(record: Record) -> str | None:
    """The reason for which a record will be left out, as far as it shows from outside of its files."""
    if record.excluded:
        return RecordReason.EXCLUDED
    if record.fault:
        return record.fault[0]
    if record.split is None:
        return RecordReason.MISSING_SPLIT
    if record.needs_report and record.report is None and not _is_file(record.report_path):
        return RecordReason.MISSING_REPORT
    if record.needs_report and record.report is not None and not record.report.strip():
        return RecordReason.EMPTY_REPORT
    return None if _is_file(record.image) else Reason.MISSING_FILE


def _is_file(path: Path | None) -> bool:
    try:
        return path is not None and path.is_file()
    except ValueError:  # a null character in its name
        return False


def _evenly(manifest: Manifest, films: int) -> Iterator[Record]:
    """At most `SAMPLE` of the records without fault."""
    every = max(1, films // SAMPLE)
    sound = (record for record in manifest.records if _fault(record) is None)
    for number, record in enumerate(sound):
        if number % every == 0 and number // every < SAMPLE:
            yield record


def _size(example: Example) -> int:
    texts = (*example.sentences, example.text_key, *(section.text for section in example.sections))
    return len(example.image) + _ROW_BYTES + sum(len(text.encode()) for text in texts)


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return path if path.exists() else _existing(path.parent)
