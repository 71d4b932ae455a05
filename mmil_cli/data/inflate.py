"""Deflated DICOM files: a few kilobytes may unpack to all the memory there is."""

import zlib
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian

from mmil_cli.data.checks import HEAD_BYTES, MAX_PIXELS
from mmil_cli.data.reasons import Reason, rejected

_MOST_BYTES = 2 * MAX_PIXELS
"""16 bits a pixel; what is deflated is unpacked at once, and a worker has little room for it."""

_META_BYTES = 1024
_GROUP_LENGTH_BYTES = 12
_CHUNK = 1 << 20


def refuse_inflated(file: BinaryIO, path: Path) -> None:
    """Refuse a deflated dataset that unpacks to more than any film needs; pydicom would unpack it whole.

    The file is left at its start.
    """
    head = file.read(_META_BYTES)
    if DeflatedExplicitVRLittleEndian.encode() in head:
        start = HEAD_BYTES if head[HEAD_BYTES - 4 : HEAD_BYTES] == b"DICM" else 0
        length = int.from_bytes(head[start + 8 : start + _GROUP_LENGTH_BYTES], "little")
        file.seek(start + _GROUP_LENGTH_BYTES + length)
        if _inflates_beyond(file, _MOST_BYTES):
            raise rejected(
                Reason.TOO_LARGE, path, f"unpacks to more than {_MOST_BYTES // 1_000_000} million bytes"
            )
    file.seek(0)


def _inflates_beyond(file: BinaryIO, most: int) -> bool:
    """Unpack piece by piece and keep nothing."""
    unpacker, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), 0
    data = file.read(_CHUNK)
    while data and unpacked <= most:
        unpacked += len(unpacker.decompress(data, _CHUNK))
        data = unpacker.unconsumed_tail or file.read(_CHUNK)
    return unpacked > most
