"""Ids replaced by keyed hashes: who holds the key can link them again, nobody else can.

An id becomes the first 128 bits of HMAC-SHA-256 (RFC 2104) under the key, over the id and what it is the
id of, as 32 hexadecimal digits. Equal keys give equal pseudonyms in every source and run; without the key no
list of all possible ids helps to find one again. The key itself is never written.
"""

import csv
import hashlib
import hmac
import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmil_cli.data.manifest import Manifest, Record, relative_path
from mmil_cli.data.on_disk import sorted_on_disk
from mmil_cli.errors import UsageError
from mmil_cli.files import write_atomic

LEVELS = ("image_id", "study_id", "patient_id")
LEAST_KEY_BYTES = 32
_PSEUDONYM_BYTES = 16
_CHECK_BYTES = 8
OPTION = "pseudonyms"
"""Under this name `dataset.json` keeps `Pseudonyms.check`."""

_MAKE = "make one with: (umask 077; openssl rand -hex 32 > KEYFILE)"
CROSSWALK_COLUMNS = (*LEVELS, *(f"source_{name}" for name in LEVELS), "path")


@dataclass(frozen=True)
class Pseudonyms:
    """Names ids under one key.

    Attributes:
        key: never shown.
        originals: filled with the ids that were named, by the bytes of the pseudonym, which no two levels
            share: 340 MB for a million films of 200,000 patients; None remembers nothing.
    """

    key: bytes = field(repr=False)
    originals: dict[bytes, str] | None = field(default=None, repr=False, compare=False)

    def name(self, level: str, original: str) -> str:
        """The pseudonym of an id; `level` is one of `LEVELS`, so that patient 7 is not study 7."""
        told = self._digest(f"{level}\0{original}")[:_PSEUDONYM_BYTES]
        if self.originals is not None:
            self.originals[told] = original
        return told.hex()

    @property
    def check(self) -> str:
        """Tells two keys apart without telling either: 16 hexadecimal digits, written to `dataset.json`."""
        return self._digest("check")[:_CHECK_BYTES].hex()

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self.key, text.encode("utf-8", "surrogateescape"), hashlib.sha256)


def read_key(path: Path, *, remember: bool = False) -> Pseudonyms:
    """The pseudonyms of a key file: its bytes, but for blanks and line ends around them, are the key.

    Args:
        path: of the file, which only its owner may read.
        remember: keep what was named, for `write_crosswalk`.

    Raises:
        UsageError: there is no such file, others may read it, or it is too short to be a key.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise UsageError(f"--pseudonymise: {path} is no file; {_MAKE}")
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(f"--pseudonymise: others than its owner may use {path}; run chmod 600 on it")
        key = path.read_bytes().strip()
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise UsageError(f"--pseudonymise: {path} cannot be read ({reason}); {_MAKE}") from fault
    if len(key) < LEAST_KEY_BYTES:
        raise UsageError(
            f"--pseudonymise: {path} holds {len(key)} bytes; a key has {LEAST_KEY_BYTES} or more; {_MAKE}"
        )
    return Pseudonyms(key, {} if remember else None)


def pseudonymised(manifest: Manifest, pseudonyms: Pseudonyms, *, named: bool) -> Manifest:
    """The manifest with pseudonyms for ids, in their order: that of a source tells ranks of the ids.

    Args:
        manifest: of a source.
        pseudonyms: to name the ids with.
        named: the source has given pseudonyms already, of ids that it must not tell.
    """
    records = manifest.records if named else (_named(record, pseudonyms) for record in manifest.records)
    return replace(
        manifest,
        records=sorted_on_disk(records, lambda record: record.image_id, width=2 * _PSEUDONYM_BYTES),
        options=(*manifest.options, (OPTION, pseudonyms.check)),
    )


def _named(record: Record, pseudonyms: Pseudonyms) -> Record:
    image, study, patient = (pseudonyms.name(level, getattr(record, level)) for level in LEVELS)
    return replace(record, image_id=image, study_id=study, patient_id=patient)


def check_crosswalk(path: Path, dataset: Path, pseudonyms: Pseudonyms | None) -> None:
    """Refuse a crosswalk that would say nothing, or lie in the dataset that hides what it tells.

    Raises:
        UsageError: there is no key, or the file would be in the dataset folder.
    """
    if pseudonyms is None:
        raise UsageError("--crosswalk tells what pseudonyms stand for; it needs --pseudonymise KEYFILE")
    if path.absolute().is_relative_to(dataset.absolute()):
        raise UsageError(f"--crosswalk: {path} lies in the dataset folder; keep it where the key is")


def write_crosswalk(path: Path, manifest: Manifest, pseudonyms: Pseudonyms) -> None:
    """Write which record each pseudonym stands for, as a CSV that only its owner may read."""
    write_atomic(path, lambda partial: _write_private(partial, manifest, pseudonyms))


def _write_private(path: Path, manifest: Manifest, pseudonyms: Pseudonyms) -> None:
    path.unlink(missing_ok=True)
    owner = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(owner, "w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(CROSSWALK_COLUMNS)
        writer.writerows(_crosswalk_row(record, manifest.root, pseudonyms) for record in manifest.records)


def _crosswalk_row(record: Record, root: Path, pseudonyms: Pseudonyms) -> list[str]:
    assert pseudonyms.originals is not None
    ids = [getattr(record, level) for level in LEVELS]
    file = record.image or record.report_path
    originals = [pseudonyms.originals[bytes.fromhex(told)] for told in ids]
    return [*ids, *originals, relative_path(file, root) if file else ""]


def without_names(detail: str, record: Record) -> str:
    """A sentence on a record without the names of its files, which may be those of patients."""
    for file in filter(None, (record.image, record.report_path)):
        detail = detail.replace(file.name, "the file")
    return detail
