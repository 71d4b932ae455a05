"""What preprocess would come to: faults first, then counts; time and disk judged from a sample."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmil_cli.data.convert import Example, Rejection
from mmil_cli.data.encoding import Encoding
from mmil_cli.data.manifest import Manifest, Record, RecordReason
from mmil_cli.data.pixels import DEFAULT_ENCODING
from mmil_cli.data.pseudonyms import check_crosswalk
from mmil_cli.data.reasons import Reason
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.errors import UsageError, listing
from mmil_cli.stages.at_out import AtOut, is_free, look
from mmil_cli.stages.conversion import Conversion, Listed, Timed
from mmil_cli.stages.preprocess import (
    DEFAULT_MAX_REJECTED,
    DEFAULT_SIDE,
    SHARD_ROWS,
    check_options,
    list_records,
    plan_of,
)
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
        done: records for which a run has nothing to do, for what lies where the dataset would.
        at_out: what lies there, in a sentence; "" where nothing does.
        films: the other records that have no fault yet.
        splits: of these, by split.
        seconds: of work for all of them, by one worker; None without a film.
        bytes_needed: on disk for all of them; None without a film.
        bytes_free: where the dataset would lie.
        failures: why the run would fail, as far as the records and the sample tell; empty when it would not.
        notes: on the source.
    """

    records: int
    faults: Mapping[str, tuple[int, str]]
    sampled: int
    sample_faults: Mapping[str, tuple[int, str]]
    done: int
    at_out: str
    films: int
    splits: Mapping[str, int]
    seconds: float | None
    bytes_needed: int | None
    bytes_free: int
    failures: tuple[str, ...]
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
) -> DryRun:
    """Look at every record and read a few films, evenly spaced; nothing is written.

    Arguments, and the errors that show before a film is read, are those of `preprocess.run`.
    """
    check_options(side=side, workers=0, max_rejected=max_rejected, seed=seed)
    options = source_options or SourceOptions()
    if crosswalk:
        check_crosswalk(crosswalk, out, options.pseudonyms)
    free = shutil.disk_usage(_folder_above(out.absolute())).free
    manifest = list_records(source, options, exclusions, only, None, seed, label_reports=label_reports)
    there = AtOut(np.zeros(len(manifest.records), np.bool_))
    if not is_free(out):
        listed = Listed.of(manifest)
        asked = {"side": side, "encoding": str(encoding), "seed": seed, "shard_rows": SHARD_ROWS}
        there = look(out, plan_of(listed, asked, keep_burned_in=keep_burned_in), listed)
    faults, splits, films = _looked_at(manifest, there.done)
    work = Timed(
        Conversion(manifest.root, manifest.label_names, side, encoding, label_reports, keep_burned_in)
    )
    with Processes(1) as pool:
        chosen = _evenly(manifest, there.done, films)
        sample = list(in_order(pool, work, chosen, ready=lambda _: None, crashed=work.crashed))
    lost: defaultdict[str, list[str]] = defaultdict(list)
    for item in sample:
        if isinstance(item.outcome, Rejection):
            lost[item.outcome.reason].append(item.outcome.record.image_id)
    sizes = [_size(item.outcome) for item in sample if isinstance(item.outcome, Example)]
    needed = round(sum(sizes) / len(sample) * films) + there.rewritten if sizes else None
    unusable = sum(count for reason, (count, _) in faults.items() if reason != RecordReason.EXCLUDED)
    unusable += there.left_out
    done = int(there.done.sum())
    if sample:
        unusable += round((1 - len(sizes) / len(sample)) * films)
    return DryRun(
        records=len(manifest.records),
        faults=faults,
        sampled=len(sample),
        sample_faults={reason: (len(ids), listing(ids, _SHOWN)) for reason, ids in lost.items()},
        done=done,
        at_out=there.told,
        films=films,
        splits=splits,
        seconds=sum(item.seconds for item in sample) / len(sample) * films if sample else None,
        bytes_needed=needed,
        bytes_free=free,
        failures=(
            *filter(None, [there.failure]),
            *_too_few(unusable, films + done, faults, max_rejected),
            *_too_large(needed, free),
        ),
        notes=manifest.notes,
    )


def _too_few(unusable: int, films: int, faults: Mapping[str, tuple[int, str]], most: float) -> Iterator[str]:
    """A sentence where a run would end for want of usable records."""
    wanted = films + sum(count for reason, (count, _) in faults.items() if reason != RecordReason.EXCLUDED)
    if not wanted:
        yield "--exclude and --only leave no record of the source"
    elif unusable == wanted:
        yield f"none of {wanted} records can be used"
    elif unusable > most * wanted:
        yield f"about {unusable} of {wanted} records cannot be used, and --max-rejected is {most:g}"


def _too_large(needed: int | None, free: int) -> Iterator[str]:
    """A sentence where a run would fill the disk."""
    if needed is not None and needed > free:
        yield "the disk has too little room"


def _looked_at(
    manifest: Manifest, done: Iterable[bool]
) -> tuple[dict[str, tuple[int, str]], dict[str, int], int]:
    """Of what is left to do: faults with counts and a few ids, films by split, and the number of films."""
    counts: Counter[str] = Counter()
    ids: defaultdict[str, list[str]] = defaultdict(list)
    splits: Counter[str] = Counter()
    for record in _left(manifest, done):
        reason = _fault(record)
        if reason is None:
            splits[str(record.split)] += 1
            continue
        counts[reason] += 1
        if len(ids[reason]) <= _SHOWN:
            ids[reason].append(record.image_id)
    told = {reason: (count, _few(ids[reason], count)) for reason, count in counts.most_common()}
    return told, dict(splits.most_common()), splits.total()


def _left(manifest: Manifest, done: Iterable[bool]) -> Iterator[Record]:
    return (record for record, is_done in zip(manifest.records, done, strict=True) if not is_done)


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


def _evenly(manifest: Manifest, done: Iterable[bool], films: int) -> Iterator[Record]:
    """At most `SAMPLE` of the records that are left to do and without fault."""
    places = {number * films // SAMPLE for number in range(SAMPLE)}
    sound = (record for record in _left(manifest, done) if _fault(record) is None)
    return (record for number, record in enumerate(sound) if number in places)


def _size(example: Example) -> int:
    texts = (*example.sentences, example.text_key, *(section.text for section in example.sections))
    return len(example.image) + _ROW_BYTES + sum(len(text.encode()) for text in texts)


def _folder_above(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there.

    Raises:
        UsageError: a file stands there.
    """
    if path.is_dir():
        return path
    if path.exists():
        raise UsageError(f"--out: {path} is a file; choose another folder")
    return _folder_above(path.parent)
