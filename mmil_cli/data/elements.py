"""The elements of a DICOM file that are asked for, in bounded time."""

from collections.abc import Callable, Sequence
from typing import BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.filereader import read_partial
from pydicom.tag import Tag

_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_UNDEFINED = 0xFFFFFFFF
_MOST_ELEMENTS = 20_000
"""Before the pixels; a header has some hundred. A lost sector, or a bomb, is millions of empty ones."""


def read_elements(file: BinaryIO, keywords: Sequence[str], *, with_pixels: bool) -> FileDataset:
    """The elements of these keywords; nothing behind the pixel data is read, where writers pad.

    Raises:
        ValueError: null bytes stand where an element should (group 0000 is for messages, never in a file), or
            the elements have no end.
    """
    tags: list[Tag] = [Tag(keyword) for keyword in keywords]  # type: ignore[valid-type]
    return read_partial(file, _bounded(with_pixels=with_pixels), force=True, specific_tags=tags)


def is_cut_off(header: FileDataset) -> bool:
    """Whether the file ends before the told length of its pixel data; pydicom takes what there is."""
    found = [header.get_item(tag) for tag in _PIXELS if tag in header]
    return any(
        isinstance(element, RawDataElement)
        and element.length != _UNDEFINED
        and len(element.value or b"") < element.length
        for element in found
    )


def _bounded(*, with_pixels: bool) -> Callable[[int, str | None, int], bool]:
    """Tells when to stop, for one file."""
    seen = 0
    pixels_seen = False

    def stops(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal seen, pixels_seen
        if pixels_seen:
            return True
        seen += 1
        if tag >> 16 == 0 or seen > _MOST_ELEMENTS:
            raise ValueError("no element of a file")
        pixels_seen = tag in _PIXELS
        return pixels_seen and not with_pixels

    return stops
