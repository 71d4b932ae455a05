"""Finding the films of an archive whose tables name them without their folders."""

import os
from collections import deque
from collections.abc import Iterator, Mapping, MutableSequence, Set
from operator import attrgetter
from pathlib import Path

from mmil_cli.errors import DataError

DICOM_SUFFIXES = (".dcm", ".dicom")
FILM_SUFFIXES = (*DICOM_SUFFIXES, ".png", ".jpg", ".jpeg")
"""In the order of preference, where a film is there in several forms."""

_LEFT_OVERS = {
    "__MACOSX", "@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information", "lost+found",
}  # fmt: skip
"""Folders of archivers, file servers and disks; hidden ones are told by their dot."""


def films_below(folder: Path) -> dict[str, Path]:
    """Every film below a folder by its name without suffix.

    Of several with one name the form that comes first in `FILM_SUFFIXES` is taken, then the first path.

    Raises:
        DataError: as for `files_below`.
    """
    found: dict[str, Path] = {}
    for path in sorted(_pictures(folder), key=lambda path: (_preference(path.name), path)):
        found.setdefault(film_name(path.name), path)
    return found


def film_name(name: str) -> str:
    """A film's file name without the suffixes of pictures (`1_IM-0001-4001.dcm.png` is `1_IM-0001-4001`)."""
    folded = name.lower()
    suffix = next((suffix for suffix in FILM_SUFFIXES if folded.endswith(suffix)), None)
    return film_name(name[: -len(suffix)]) if suffix else name


def film_or_expected(films: Mapping[str, Path], name: str, folder: Path) -> Path:
    """The film of that file name, or where it should be, so that the record is rejected with its name."""
    return films.get(film_name(name), folder / Path(name).name)


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, sorted folder by folder; what systems leave there is not (`is_left_over`).

    Folders that links lead to come after the folder's own, each once: links may form circles.

    Raises:
        DataError: a folder cannot be looked into, and nobody knows what films it holds.
    """
    walked: set[str] = set()
    waiting = deque([(folder, os.path.realpath(folder))])
    while waiting:
        place, real = waiting.popleft()
        if not _was_met(Path(real), walked):
            walked.add(real)
            yield from _files(place, real, walked, waiting)


def is_left_over(name: str) -> bool:
    """Whether a name is one that systems leave: hidden (`._x.dcm` beside `x.dcm`), rubbish, thumbnails."""
    return name.startswith(".") or name in _LEFT_OVERS


def _files(
    place: Path, real: str, walked: Set[str], links: MutableSequence[tuple[Path, str]]
) -> Iterator[Path]:
    """The files of a folder and of those in it; links to folders are put to `links`."""
    folders = []
    for entry in _entries(place):
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.name)
        elif entry.is_symlink() and (target := Path(os.path.realpath(entry))).is_dir():
            links.append((place / entry.name, str(target)))
        else:
            yield place / entry.name
    for name in folders:
        inner = real.rstrip(os.sep) + os.sep + name
        if inner not in walked:
            yield from _files(place / name, inner, walked, links)


def _entries(place: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            shown = [entry for entry in entries if not is_left_over(entry.name)]
    except OSError as fault:
        raise DataError(
            f"{place} cannot be looked into ({fault.strerror}), so that nobody knows which films it holds; "
            "make it readable, or take it out of the source"
        ) from fault
    return sorted(shown, key=attrgetter("name"))


def _was_met(place: Path, walked: Set[str]) -> bool:
    """Whether a folder lies below a walked one, and not below what was left out there."""
    for above in (place, *place.parents):
        if str(above) in walked:
            return True
        if is_left_over(above.name):
            return False
    return False


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for path in files_below(folder) if path.name.lower().endswith(FILM_SUFFIXES))


def _preference(name: str) -> int:
    folded = name.lower()
    return next(place for place, suffix in enumerate(FILM_SUFFIXES) if folded.endswith(suffix))
