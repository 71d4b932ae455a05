"""Look a dataset folder through for what would make its numbers wrong."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer

from mmil_cli.data.dataset import DatasetInfo, StudyDataset, map_shard, verify_shard
from mmil_cli.data.info import INFO_FILE, read_info
from mmil_cli.data.tokenizer import read_tokenizer, read_vocabulary
from mmil_cli.errors import DataError, UsageError
from mmil_cli.files import make_folder, write_json, write_text
from mmil_cli.stages.audit_checks import CHECKS, LISTED, Example, Found, found, found_json
from mmil_cli.stages.audit_groups import compare
from mmil_cli.stages.audit_rows import Gathered, gather

JSON_FILE, PAGE_FILE = "audit.json", "index.html"
MOST_UNKNOWN = 0.01
TRAIN = "train"

_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class LabelCounts:
    """How many films of a split have each value of a finding; positive is 1 and, of grades, more."""

    finding: str
    split: str
    positive: int
    negative: int
    uncertain: int
    missing: int

    @property
    def prevalence(self) -> float:
        """Positive among positive and negative; NaN without either."""
        told = self.positive + self.negative
        return self.positive / told if told else float("nan")


@dataclass(frozen=True)
class TextCounts:
    """The words of a split.

    Attributes:
        words, distinct: in the reports of its studies.
        unseen: share of the words that no report of the training split has; NaN without one.
        unknown: share of the tokens that the given tokenizer does not know; NaN without a tokenizer.
    """

    split: str
    words: int
    distinct: int
    unseen: float
    unknown: float


@dataclass(frozen=True)
class AuditResult:
    """What was found, in the order of `CHECKS`.

    Attributes:
        checked: films that were looked at; fewer than the dataset has where shards are damaged.
        notes: what was not looked at, and why.
    """

    folder: Path
    info: DatasetInfo
    checked: int
    found: tuple[Found, ...]
    labels: tuple[LabelCounts, ...]
    texts: tuple[TextCounts, ...]
    notes: tuple[str, ...]

    @property
    def has_hard_faults(self) -> bool:
        """Whether numbers from this dataset would be wrong."""
        return any(item.is_hard for item in self.found)


def run(
    data: Path,
    out: Path,
    *,
    tokenizer: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> AuditResult:
    """Look through a dataset and write `audit.json` and `index.html`.

    Every film is decoded once, and none is kept: memory grows by about 0.4 kB a film. The comparison of all
    films with all takes time quadratic in their number, with a small constant.

    Args:
        data: the dataset folder; nothing is written there.
        out: folder of the results.
        tokenizer: folder of one, or a WordPiece vocab.txt, whose unknown tokens are counted.
        on_progress: told (films done, films in all).

    Raises:
        UsageError: there is no such tokenizer, or `out` is the dataset.
        DataError: no dataset folder.
    """
    info = read_info(data)
    if (out / INFO_FILE).exists():
        raise UsageError(f"--out {out} is a dataset folder; choose another, such as results/audit")
    known = _tokenizer(tokenizer) if tokenizer else None
    make_folder(out)
    damage, batches = _whole_shards(data, info)
    dataset = StudyDataset(data, info, batches) if batches else None
    result = _audit(dataset, info, out, damage, known, on_progress)
    _write(result, dataset)
    return result


def _audit(
    dataset: StudyDataset | None,
    info: DatasetInfo,
    out: Path,
    damage: list[Found],
    tokenizer: Tokenizer | None,
    on_progress: Callable[[int, int], None] | None,
) -> AuditResult:
    if dataset is None:
        return AuditResult(out, info, 0, tuple(damage), (), (), ("any film, for no shard is whole",))
    gathered = gather(dataset, tokenizer=tokenizer, on_progress=on_progress)
    compared, notes = compare(dataset, gathered)
    texts = _texts(gathered)
    unknown = [
        Example((), f"{counts.split}: {counts.unknown:.1%}")
        for counts in texts
        if counts.unknown > MOST_UNKNOWN
    ]
    single = [
        Found(name, gathered.counts[name], tuple(gathered.cases[name]))
        for name in CHECKS
        if gathered.counts[name]
    ]
    everything = _merged([*damage, *single, *compared, *found("unknown-tokens", unknown)])
    return AuditResult(out, info, len(dataset), everything, _labels(gathered), texts, tuple(notes))


def _merged(items: list[Found]) -> tuple[Found, ...]:
    """One entry a check, in the order of `CHECKS`."""
    merged: list[Found] = []
    for name in CHECKS:
        parts = [item for item in items if item.name == name]
        cases = [case for part in parts for case in part.examples]
        merged += [Found(name, sum(part.count for part in parts), tuple(cases[:LISTED]))] if parts else []
    return tuple(merged)


def _whole_shards(data: Path, info: DatasetInfo) -> tuple[list[Found], list[pa.RecordBatch]]:
    """What is wrong with the files of the dataset, and the rows of those that are whole."""
    damaged, pointers, batches = [], [], []
    for shard in info.shards:
        path = data / shard.file
        try:
            verify_shard(path, shard)
            batches += map_shard(path, shard)
        except DataError as fault:
            if _is_pointer(path):
                pointers.append(Example((), f"{shard.file}, {shard.rows} films"))
            else:
                damaged.append(Example((), str(fault)))
    return [*found("damaged-shards", damaged), *found("lfs-pointers", pointers)], batches


def _is_pointer(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        return handle.read(len(_POINTER)) == _POINTER


def _tokenizer(path: Path) -> Tokenizer:
    if not path.exists():
        raise UsageError(
            f"--tokenizer: nothing lies at {path}; give a folder with tokenizer.json or vocab.txt, such as "
            "the tokenizer folder of a checkpoint, or a WordPiece vocab.txt"
        )
    tokenizer = read_tokenizer(path) if path.is_dir() else read_vocabulary(path)
    if tokenizer.token_to_id("[UNK]") is None:
        raise UsageError(
            f"--tokenizer: that of {path} has no token [UNK], so nothing can be unknown to it; "
            "leave the option out, or give a WordPiece tokenizer"
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _labels(gathered: Gathered) -> tuple[LabelCounts, ...]:
    return tuple(
        LabelCounts(
            finding,
            split,
            positive=sum(number for value, number in counts.items() if value is not None and value > 0),
            negative=counts[0],
            uncertain=counts[-1],
            missing=counts[None],
        )
        for (finding, split), counts in gathered.labels.items()
    )


def _texts(gathered: Gathered) -> tuple[TextCounts, ...]:
    return tuple(
        TextCounts(
            split,
            words=words.total(),
            distinct=len(words),
            unseen=_unseen(words, gathered.words.get(TRAIN)),
            unknown=_share(*gathered.tokens.get(split, (0, 0))),
        )
        for split, words in gathered.words.items()
    )


def _unseen(words: Counter[str], known: Mapping[str, int] | None) -> float:
    if known is None:
        return float("nan")
    return _share(sum(number for word, number in words.items() if word not in known), words.total())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _write(result: AuditResult, dataset: StudyDataset | None) -> None:
    from mmil_cli.stages.audit_page import audit_page  # matplotlib: only where a picture is drawn

    write_json(result.folder / JSON_FILE, _json(result, dataset))
    write_text(result.folder / PAGE_FILE, audit_page(result, dataset))


def _json(result: AuditResult, dataset: StudyDataset | None) -> dict[str, Any]:
    ids = dataset.column("image_id") if dataset else ()
    return {
        "hard_faults": result.has_hard_faults,
        "content_hash": result.info.content_hash,
        "films": result.info.num_rows,
        "films_checked": result.checked,
        "found": [
            found_json(item, [tuple(str(ids[row]) for row in case.rows) for case in item.examples])
            for item in result.found
        ],
        "not_found": [name for name in CHECKS if name not in {item.name for item in result.found}],
        "labels": [{**vars(counts), "prevalence": counts.prevalence} for counts in result.labels],
        "texts": [vars(counts) for counts in result.texts],
        "rejected_by_preprocess": dict(result.info.rejected),
        "notes": list(result.notes),
    }
