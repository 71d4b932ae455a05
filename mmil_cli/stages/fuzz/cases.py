"""One damaged source after another, each made of a seed and a number alone."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.stages.fuzz import films, texts
from mmil_cli.stages.fuzz.damage import Generator

KINDS = {"films": 0.5, "reports": 0.16, "tables": 0.22, "xml": 0.12}
"""What is damaged, with its share of the cases."""

STRANGE = "no plain file"
_FOLDER_OF_DICOMS = 0.3
_PICTURE = 0.15
_STRANGE = 0.06


@dataclass(frozen=True)
class Case:
    """A source in which one file is damaged, but for chance; its neighbours are whole.

    Attributes:
        kind: a key of `KINDS`.
        damage: what was done.
        source: what preprocess is given.
        victim: the damaged file.
        whole: outside the source, what it was before.
        good: image ids of records that nothing was done to.
        bad: image id of the record of the victim; "" where a whole table is damaged.
    """

    number: int
    kind: str
    damage: str
    source: Path
    options: SourceOptions
    victim: Path
    whole: Path
    good: tuple[str, ...]
    bad: str


def make_case(number: int, *, seed: int, folder: Path) -> Case:
    """Write the source of a case into an empty folder."""
    generator = np.random.default_rng([seed, number])
    kind = str(generator.choice(list(KINDS), p=list(KINDS.values())))
    return _MAKERS[kind](number, generator, folder)


def _films(number: int, generator: Generator, folder: Path) -> Case:
    """Three films in a table, or DICOMs in a folder, the second one damaged."""
    is_picture = generator.random() < _PICTURE
    data, _ = films.some_dicom(1, generator)
    if is_picture:
        data = films.picture(1, ("png", "jpeg")[generator.integers(2)])
    names = list(films.OF_FILMS) if not is_picture else [*texts.EVERYWHERE, "a bomb"]
    in_folder = not is_picture and generator.random() < _FOLDER_OF_DICOMS
    name = names[generator.integers(len(names))]
    if name == films.DEEP:
        data = films.plain_dicom()
    victim, whole = folder / "b" / "1.dcm", folder.parent / "whole"
    whole.write_bytes(data)
    for place, content in enumerate(
        (films.some_dicom(0, generator)[0], None, films.some_dicom(2, generator)[0])
    ):
        path = folder / "abc"[place] / f"{place}.dcm"
        path.parent.mkdir()
        (path.parent / f"{place}.txt").write_text(texts.report(place), encoding="utf-8")
        if content:
            path.write_bytes(content)
    damage = _put(victim, data, films.OF_FILMS, name, generator)
    if in_folder:
        return Case(number, "films", damage, folder, SourceOptions(source="dicoms"), victim, whole, (), "")
    lines = [f"{'abc'[n]}/{n}.dcm,{'abc'[n]}/{n}.txt,{n}" for n in range(3)]
    table = folder / "films.csv"
    table.write_text("\n".join(["image,report_path,image_id", *lines]))
    return Case(number, "films", damage, table, SourceOptions(), victim, whole, ("0", "2"), "1")


def _put(
    path: Path,
    data: bytes,
    damages: dict[str, Callable[[bytes, Generator], bytes]],
    name: str,
    generator: Generator,
) -> str:
    """Write the damaged file; its damage by name."""
    if generator.random() < _STRANGE:
        _strange(path, generator)
        return STRANGE
    path.write_bytes(damages[name](data, generator))
    return name


def _one_of(damages: Mapping[str, object], generator: Generator) -> str:
    return list(damages)[generator.integers(len(damages))]


def _strange(path: Path, generator: Generator) -> None:
    """A folder, a pipe, a device, a link to itself, to nothing or through a circle in place of a file."""
    kind = int(generator.integers(6))
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 5:
        (path.parent / "circle").symlink_to(path.parent)
        path.symlink_to(path.parent / "circle" / path.name)
    else:
        path.symlink_to((path, path.parent / "nothing", Path("/dev/zero"))[kind - 2])


def _reports(number: int, generator: Generator, folder: Path) -> Case:
    """Three reports as files, the second one damaged."""
    victim = folder / "1.txt"
    for place in range(3):
        (folder / f"{place}.png").write_bytes(films.picture(place, "png"))
        if place != 1:
            (folder / f"{place}.txt").write_text(texts.report(place), encoding="utf-8")
    data = texts.report(1).encode()
    damage = _put(victim, data, texts.OF_REPORTS, _one_of(texts.OF_REPORTS, generator), generator)
    table = folder / "films.csv"
    lines = [f"{n}.png,{n}.txt,{n}" for n in range(3)]
    table.write_text("\n".join(["image,report_path,image_id", *lines]))
    return Case(number, "reports", damage, table, SourceOptions(), victim, victim, ("0", "2"), "1")


def _tables(number: int, generator: Generator, folder: Path) -> Case:
    """A table of six films, damaged as a table or as bytes."""
    for place in range(6):
        (folder / f"{place}.png").write_bytes(films.picture(place, "png"))
    _surroundings(folder)
    form = texts.FORMS[generator.integers(len(texts.FORMS))]
    names = [*texts.OF_ROWS, *texts.OF_TABLES]
    damage = names[generator.integers(len(names))]
    content = texts.rows(6)
    if damage in texts.OF_ROWS:
        data = _written(texts.OF_ROWS[damage](content, generator), form)
    else:
        data = texts.table(content, form)
        is_text = not form.endswith((".gz", "parquet"))
        name = (
            damage if is_text or damage not in ("another encoding", "control characters") else "bytes changed"
        )
        damage, data = name, texts.OF_TABLES[name](data, generator)
    if generator.random() < 0.05:
        form = "csv.gz" if form == "csv" else "csv"
        damage = "a wrong suffix"
    table = folder / f"films.{form}"
    table.write_bytes(data)
    return Case(number, "tables", damage, table, SourceOptions(), table, table, (), "")


def _written(content: texts.Rows, form: str) -> bytes:
    """The rows in a form that can hold them: JSON holds all."""
    try:
        return texts.table(content, form)
    except (ValueError, TypeError, OverflowError):
        return texts.table([{name: str(value) for name, value in row.items()} for row in content], form)


def _surroundings(folder: Path) -> None:
    """What a cell may lead to: a pipe, a folder, a link to itself and one to a film, a film outside."""
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "link.png").symlink_to(folder / "0.png")


def _xml(number: int, generator: Generator, folder: Path) -> Case:
    """Three reports of OpenI, the second one damaged."""
    reports = folder / "ecgen-radiology"
    reports.mkdir()
    victim = reports / "2.xml"
    for place in (1, 2, 3):
        image = f"CXR{place}_IM-{place}"
        (folder / f"{image}.png").write_bytes(films.picture(place, "png"))
        if place != 2:
            (reports / f"{place}.xml").write_bytes(texts.xml(place, image))
    data = texts.xml(2, "CXR2_IM-2")
    damage = _put(victim, data, texts.OF_XML, _one_of(texts.OF_XML, generator), generator)
    (folder / "circle").symlink_to(folder)
    good = ("CXR1_IM-1", "CXR3_IM-3")
    return Case(
        number, "xml", damage, folder, SourceOptions(source="openi"), victim, victim, good, "CXR2_IM-2"
    )


_MAKERS: dict[str, Callable[[int, Generator, Path], Case]] = {
    "films": _films,
    "reports": _reports,
    "tables": _tables,
    "xml": _xml,
}
