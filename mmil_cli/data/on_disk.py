"""Long lists that lie on disk, so that memory does not grow with an archive."""

import pickle
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar, overload

import numpy as np

T = TypeVar("T")
S = TypeVar("S")

CHUNK = 512
"""Items that are written and read together; one chunk is held in memory."""


class _Lazy(Sequence[T]):
    """A sequence of which only `__len__` and `_run(start)`, the items from `start` on, are its own."""

    def _run(self, start: int) -> Iterator[T]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[T]:
        return self._run(0)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        return next(self._run(place))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(mine == theirs for mine, theirs in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]


class OnDisk(_Lazy[T]):
    """Any items in a file without a name, which goes with the process; they are read a chunk at a time.

    The file lies in the folder for temporary files (`TMPDIR`) and is nobody else's, so that pickle is safe.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._file = tempfile.TemporaryFile(prefix="mmil-")  # noqa: SIM115 - it lives as long as the list
        weakref.finalize(self, self._file.close)
        self._places = array("Q")
        self._length = 0
        self._held: tuple[int, list[T]] = (-1, [])
        remaining = iter(items)
        while chunk := list(islice(remaining, CHUNK)):
            self._places.append(self._file.tell())
            pickle.dump(chunk, self._file, protocol=pickle.HIGHEST_PROTOCOL)
            self._length += len(chunk)
        self._file.flush()

    def __len__(self) -> int:
        return self._length

    def _run(self, start: int) -> Iterator[T]:
        for number in range(start // CHUNK, len(self._places)):
            yield from islice(self._chunk(number), start % CHUNK if number == start // CHUNK else 0, None)

    def _chunk(self, number: int) -> list[T]:
        if self._held[0] != number:
            self._file.seek(self._places[number])
            self._held = number, pickle.load(self._file)
        return self._held[1]


class Mapped(_Lazy[T], Generic[S, T]):
    """Each item of a sequence through a function, when it is asked for."""

    def __init__(self, items: Sequence[S], function: Callable[[S], T]) -> None:
        self._items, self._function = items, function

    def __len__(self) -> int:
        return len(self._items)

    def _run(self, start: int) -> Iterator[T]:
        return map(self._function, since(self._items, start))


def sorted_on_disk(items: Iterable[T], key: Callable[[T], str], *, width: int) -> OnDisk[T]:
    """The items in the order of their keys, those of equal keys as they came.

    Only the keys and the places of the items are held, `width` + 16 bytes an item, and not for longer than
    the sorting takes.

    Args:
        items: read once.
        key: ASCII of at most `width` letters; of longer ones the rest is not heeded.
        width: letters of a key.
    """
    places = array("Q")
    with tempfile.TemporaryFile(prefix="mmil-") as file:

        def written() -> Iterator[bytes]:
            for item in items:
                places.append(file.tell())
                pickle.dump(item, file, protocol=pickle.HIGHEST_PROTOCOL)
                yield key(item).encode("ascii")

        order = np.argsort(np.fromiter(written(), np.dtype((np.bytes_, width))), kind="stable")

        def read() -> Iterator[T]:
            for number in order:
                file.seek(places[number])
                yield pickle.load(file)

        return OnDisk(read())


def since(items: Sequence[T], start: int) -> Iterator[T]:
    """The items from `start` on, without those before it being read."""
    return items._run(start) if isinstance(items, _Lazy) else islice(items, start, None)
