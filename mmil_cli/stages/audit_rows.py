"""One pass over the rows of a dataset: a few numbers are kept of each, and no film."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mmil_cli.data.dataset import Row, StudyDataset
from mmil_cli.data.film import is_turned
from mmil_cli.data.likeness import DESCRIPTOR_LENGTH, descriptor
from mmil_cli.data.sentences import has_words
from mmil_cli.data.stances import finding_pattern, plain_stance
from mmil_cli.errors import DataError, shortened
from mmil_cli.stages.audit_checks import LISTED, Example

BLANK_LEVELS = 3
"""A film whose grey values, but for 1 % at either end, span fewer levels is blank."""

_LFS = "git-lfs.github.com/spec"
_WORD = re.compile(r"[^\W\d_]+")

FACTS = np.dtype(
    [
        *((name, np.uint64) for name in ("pixels", "text", "patient", "study")),
        ("split", np.uint16),
        ("view", np.uint16),
        ("coarse", np.float16, (DESCRIPTOR_LENGTH,)),
    ]
)
"""What is kept of a film, 322 bytes: hashes, the places of split and view, and the descriptor."""


@dataclass
class Gathered:
    """What a pass over the rows has found.

    Attributes:
        facts: one a row; `pixels` and `coarse` are 0 where the film is damaged or blank, `text` where there
            is no report.
        cases: by check, the first ones.
        counts: by check, all of them.
        labels: by (finding, split), how many films have each value; None is missing.
        words: by split, how often each word occurs.
        tokens: by split, (unknown, all) tokens.
    """

    facts: NDArray[np.void]
    splits: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    cases: dict[str, list[Example]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    labels: dict[tuple[str, str], Counter[int | None]] = field(default_factory=lambda: defaultdict(Counter))
    words: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)

    def note(self, name: str, index: int, text: str) -> None:
        """Count a case of one row, and keep it while there are few."""
        self.counts[name] += 1
        if len(self.cases[name]) < LISTED:
            self.cases[name].append(Example((index,), text))


def gather(
    dataset: StudyDataset, *, tokenizer: Tokenizer | None, on_progress: Callable[[int, int], None] | None
) -> Gathered:
    """Look at every row once; `tokenizer` counts what it does not know."""
    gathered = Gathered(np.zeros(len(dataset), FACTS))
    patterns = {name: finding_pattern(name) for name in dataset.label_names}
    labels = dataset.labels()
    seen: set[int] = set()  # texts, by split, of which words and labels are already counted
    for index in range(len(dataset)):
        row = dataset.row(index)
        facts = gathered.facts[index]
        _identify(gathered, facts, row)
        _look_at_film(gathered, index, dataset, facts)
        if is_turned(row.orientation):
            gathered.note("turned-films", index, f"Patient Orientation {row.orientation}")
        told = {
            name: None if np.isnan(value) else int(value)
            for name, value in zip(patterns, labels[index], strict=True)
        }
        for name, value in told.items():
            gathered.labels[name, row.split][value] += 1
        study = _number(f"{row.split}\0{row.study_id}\0{row.text_key}")
        if _has_report(gathered, index, row, facts) and study not in seen:
            seen.add(study)
            _read_report(gathered, row, tokenizer)
            for name, pattern in patterns.items():
                if pattern:
                    _hold_label(gathered, index, name, told[name], row.sentences, pattern)
        if on_progress:
            on_progress(index + 1, len(dataset))
    return gathered


def _identify(gathered: Gathered, facts: np.void, row: Row) -> None:
    facts["patient"], facts["study"] = _number(row.patient_id), _number(row.study_id)
    facts["split"], facts["view"] = _place(gathered.splits, row.split), _place(gathered.views, row.view)


def _look_at_film(gathered: Gathered, index: int, dataset: StudyDataset, facts: np.void) -> None:
    try:
        pixels = dataset.pixels(index)
    except DataError as fault:
        gathered.note("damaged-films", index, str(fault))
        return
    low, high = np.percentile(pixels, (1, 99))
    if high - low < BLANK_LEVELS:
        gathered.note("blank-films", index, f"grey levels {low:.0f} to {high:.0f} of 255")
        return
    facts["pixels"] = _number(pixels.tobytes() + str(pixels.shape).encode())
    facts["coarse"] = descriptor(pixels)


def _has_report(gathered: Gathered, index: int, row: Row, facts: np.void) -> bool:
    """Whether there is a report to read; one that is no text is noted."""
    texts = [*row.sentences, *(section.text for section in row.sections)]
    if any(_LFS in text for text in texts):
        gathered.note("lfs-pointers", index, "the report is a Git LFS pointer")
        return False
    if not any(has_words(sentence) for sentence in row.sentences):
        gathered.note("empty-reports", index, shortened(" ".join(row.sentences)) or "no sentence at all")
        return False
    facts["text"] = _number(row.text_key or "\n".join(row.sentences))
    return True


def _read_report(gathered: Gathered, row: Row, tokenizer: Tokenizer | None) -> None:
    for sentence in row.sentences:
        gathered.words[row.split].update(_WORD.findall(sentence.casefold()))
    if tokenizer:
        unknown = cast(int, tokenizer.token_to_id("[UNK]"))
        encoded = tokenizer.encode_batch(list(row.sentences), add_special_tokens=False)
        ids = [token for item in encoded for token in item.ids]
        before = gathered.tokens.get(row.split, (0, 0))
        gathered.tokens[row.split] = (before[0] + ids.count(unknown), before[1] + len(ids))


def _hold_label(
    gathered: Gathered,
    index: int,
    name: str,
    label: int | None,
    sentences: Sequence[str],
    pattern: re.Pattern[str],
) -> None:
    """Note a label of 0 or 1 against what the report plainly says."""
    stance = plain_stance(sentences, pattern) if label in (0, 1) else None
    if stance is not None and stance != label:
        said = next(sentence for sentence in sentences if pattern.search(sentence))
        gathered.note("contradicted-labels", index, f"{name} {label}: “{shortened(said)}”")


def _place(names: list[str], name: str) -> int:
    if name not in names:
        names.append(name)
    return names.index(name)


def _number(content: str | bytes) -> int:
    """A number in [1, 2^64), equal for equal content and, but for a chance in 10^19, for no other."""
    data = content.encode() if isinstance(content, str) else content
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big") or 1
