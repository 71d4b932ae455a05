"""Ways to damage bytes, whatever they mean."""

import gzip
from collections.abc import Callable

import numpy as np

Generator = np.random.Generator


def cut(data: bytes, generator: Generator) -> bytes:
    """End at any place."""
    return data[: generator.integers(0, len(data))] if data else data


def flip(data: bytes, generator: Generator) -> bytes:
    """Change one to twelve bytes."""
    changed = bytearray(data)
    for place in generator.integers(0, max(1, len(data)), generator.integers(1, 13)) if data else ():
        changed[place] = generator.integers(0, 256)
    return bytes(changed)


def insert(data: bytes, generator: Generator) -> bytes:
    """Put some bytes in."""
    at = int(generator.integers(0, len(data) + 1))
    return data[:at] + generator.bytes(int(generator.integers(1, 9))) + data[at:]


def remove(data: bytes, generator: Generator) -> bytes:
    """Take some bytes out."""
    at = int(generator.integers(0, len(data) + 1))
    return data[:at] + data[at + int(generator.integers(1, 9)) :]


def nulls(data: bytes, generator: Generator) -> bytes:
    """Overwrite a part with null bytes, as a lost sector leaves it."""
    at, count = int(generator.integers(0, len(data) + 1)), int(generator.integers(1, 65))
    return data[:at] + bytes(min(count, len(data) - at)) + data[at + count :]


def repeat(data: bytes, generator: Generator) -> bytes:
    """Write a part twice."""
    at, end = sorted(int(place) for place in generator.integers(0, len(data) + 1, 2))
    return data[:end] + data[at:end] + data[end:]


def other_content(data: bytes, generator: Generator) -> bytes:
    """What lies under a wrong name: nothing, a pointer of Git LFS, a page of an error, an archive."""
    contents = (
        b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        b"<!DOCTYPE html><html><body>403 Forbidden</body></html>",
        gzip.compress(data, mtime=0),
        b"PK\3\4" + data[:200],
        bytes(1000),
    )
    return contents[generator.integers(len(contents))]


EVERYWHERE: dict[str, Callable[[bytes, Generator], bytes]] = {
    "cut off": cut,
    "bytes changed": flip,
    "bytes put in": insert,
    "bytes taken out": remove,
    "null bytes": nulls,
    "a part twice": repeat,
    "other content": other_content,
}
"""What may happen to any file."""
