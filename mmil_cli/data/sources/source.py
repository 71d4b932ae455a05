"""What every source of films and reports is: how it is known, what it needs, how it lists its records."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mmil_cli.data.manifest import Manifest
from mmil_cli.data.sources.options import SourceOptions


@dataclass(frozen=True)
class Source:
    """One kind of archive.

    Attributes:
        name: what `--source` calls it, and `Manifest.kind`.
        title: its name in a sentence.
        needs: the files it is made of and where they come from, as the end of a sentence.
        recognises: whether a path looks like one, told from a few names and never from all of its files.
        find: lists its records.
        takes: the options of `SourceOptions` that are its own.
        has_reports: whether an archive of this kind can have reports at all.
        has_labels: whether it can have labels.
        has_dates: whether it can tell when studies were made.
        names_ids: its ids come from headers: it hashes them itself, under the key where there is one.
    """

    name: str
    title: str
    needs: str
    recognises: Callable[[Path], bool]
    find: Callable[[Path, SourceOptions], Manifest]
    takes: frozenset[str] = frozenset()
    has_reports: bool = True
    has_labels: bool = True
    has_dates: bool = False
    names_ids: bool = False


def compose_report(parts: Iterable[tuple[str, str]]) -> str:
    """(header, text) pairs as a report; parts without words are left out, with nothing in their place."""
    return "\n\n".join(f"{header.upper()}: {text.strip()}" for header, text in parts if has_text(text))


def has_text(text: str) -> bool:
    """Whether a cell holds words, not blanks or what other programs write for none."""
    return text.strip().casefold() not in ("", "nan", "none", "null")
