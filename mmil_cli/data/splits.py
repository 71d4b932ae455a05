"""Splits by patient: a stable hash of the id, so that nobody's split depends on anybody else."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

from mmil_cli.data.manifest import Record
from mmil_cli.data.on_disk import Mapped

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
