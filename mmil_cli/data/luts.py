"""Lookup tables of DICOM headers (PS3.3 C.11.1 and C.11.2), read with the slips that real files have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

_WORD = 1 << 16


@dataclass(frozen=True, eq=False)
class LookupTable:
    """Maps integer values to `entries`; values outside take the first or the last entry.

    Attributes:
        first: the value mapped to entry 0.
        entries: uint16 [n].
        maximum: the largest value an entry may take, at least one.
    """

    first: int
    entries: NDArray[np.uint16]
    maximum: int

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look values of any shape up; what is not whole is rounded first."""
        index = np.clip(np.rint(values) - self.first, 0, self.entries.size - 1).astype(np.int64)
        return self.entries[index].astype(np.float64)


def read_lut(item: Dataset, *, little_endian: bool, lowest_input: float) -> LookupTable:
    """Read one item of a Modality LUT or VOI LUT Sequence.

    The descriptor's words are signed or unsigned by a rule that writers often get wrong, so they are read
    modulo 2^16: the number of entries is positive, the first value negative only if an input can be.

    Args:
        item: the sequence item.
        little_endian: byte order of the file, for tables stored as bytes.
        lowest_input: the lowest value that can be looked up.

    Raises:
        ValueError: the table has no entries or fewer than its descriptor says.
    """
    words = [int(word) for word in item.LUTDescriptor]
    count, first, bits = words[0] % _WORD or _WORD, words[1] % _WORD, words[2]
    if lowest_input < 0 and first >= _WORD // 2:
        first -= _WORD
    entries = _entries(item.LUTData, count, little_endian)
    needed = int(entries.max()).bit_length()
    bits = max(bits if 1 <= bits <= 16 else 1, needed)
    return LookupTable(first, entries, (1 << bits) - 1)


def _entries(data: bytes | list[int] | int, count: int, little_endian: bool) -> NDArray[np.uint16]:
    """uint16 [count]; tables of 8-bit entries may be packed two to a word."""
    if isinstance(data, bytes):
        words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little_endian else ">u2")
    else:
        words = np.atleast_1d(np.asarray(data, dtype=np.int64))
    words = words.astype("<u2")
    packed = words.size < count <= 2 * words.size
    entries = words.view(np.uint8).astype(np.uint16) if packed else words.astype(np.uint16)
    if entries.size < count:
        raise ValueError("the table is shorter than its descriptor says")
    return entries[:count]
