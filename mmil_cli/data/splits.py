"""Splits by patient: a stable hash of the id, so that nobody's split depends on anybody else."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import takewhile

from mmil_cli.data.manifest import Record
from mmil_cli.data.on_disk import Mapped
from mmil_cli.errors import DataError, listing

DEFAULT_SHARES: Mapping[str, float] = {"train": 0.8, "validate": 0.1, "test": 0.1}
"""Expected share of the patients in each split."""

_SPELLINGS = {
    "val": "validate",
    "valid": "validate",
    "validation": "validate",
    "training": "train",
    "testing": "test",
}


def normalise_split(name: str | None) -> str | None:
    """One spelling a split (`val`, `valid`, `validation` are `validate`); other names stay, in lower case."""
    folded = (name or "").strip().lower()
    return _SPELLINGS.get(folded, folded) or None


def check_split_names(records: Iterable[Record]) -> None:
    """Refuse splits whose names are one slip of the pen away from a usual one, such as `trian`.

    Raises:
        DataError: they would become splits of their own, and their films would be missed without a word.
    """
    counts = Counter(record.split for record in records if record.split is not None)
    usual = sorted({*DEFAULT_SHARES, *(name for name in _SPELLINGS if len(name) > 3)})
    told = [
        f"{name!r} of {count} records (is it {near[0]}?)"
        for name, count in sorted(counts.items())
        if name not in DEFAULT_SHARES and (near := [known for known in usual if _one_slip(name, known)])
    ]
    if told:
        raise DataError(
            f"splits that look misspelt: {listing(told)}; mend them in the source, or give a split of your "
            "own a name that is less like train, validate and test"
        )


def _one_slip(name: str, known: str) -> bool:
    """Whether a letter but the first is added, left out or another, or two neighbours changed places."""
    if name[:1] != known[:1]:
        return False
    start = _alike(name, known)
    end = _alike(name[start:][::-1], known[start:][::-1])
    one, other = name[start : len(name) - end], known[start : len(known) - end]
    swapped = len(one) == 2 and one == other[::-1]
    return (one + other).isalpha() and (swapped or max(len(one), len(other)) == 1)


def _alike(one: str, other: str) -> int:
    """Letters that two words begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def split_of(patient_id: str, *, seed: int = 0, shares: Mapping[str, float] = DEFAULT_SHARES) -> str:
    """The split of a patient: a keyed hash of the id as a number in [0, 1), cut at the cumulated shares."""
    digest = blake2b(patient_id.encode(), digest_size=8, key=str(seed).encode()).digest()
    place = int.from_bytes(digest, "big") / 2**64 * sum(shares.values())
    for name, share in shares.items():
        if place < share:
            return name
        place -= share
    return list(shares)[-1]


def assign_splits(records: Sequence[Record], *, seed: int = 0) -> Sequence[Record]:
    """Give every record a split by its patient when the source names none at all.

    A source that names some is taken at its word: its records without a split stay without (and are
    rejected), since a split of our own could put a patient on both sides.
    """
    if any(record.split is not None for record in records):
        return records
    return Mapped(records, lambda record: replace(record, split=split_of(record.patient_id, seed=seed)))
