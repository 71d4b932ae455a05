"""Finding the films of an archive whose tables name them without their folders."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

FILM_SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")
"""In the order of preference, where a film is there in several forms."""


def films_below(folder: Path) -> dict[str, Path]:
    """Every film below a folder by its name without suffix.

    Of several with one name the form that comes first in `FILM_SUFFIXES` is taken, then the first path.
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
    """All files below a folder, sorted folder by folder; hidden ones are left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for path in files_below(folder) if path.name.lower().endswith(FILM_SUFFIXES))


def _preference(name: str) -> int:
    folded = name.lower()
    return next(place for place, suffix in enumerate(FILM_SUFFIXES) if folded.endswith(suffix))
