"""Generated studies as the rows of a dataset, and faults to plant in them one by one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmil_cli.data.convert import Example, convert
from mmil_cli.data.info import DatasetInfo
from mmil_cli.data.pixels import Encoding, decode, encode
from mmil_cli.data.progress import Plan, Workshop
from mmil_cli.data.reports import Section
from mmil_cli.data.shards import Layout, ShardWriter, count_splits
from mmil_cli.data.sources.find import find_records
from mmil_cli.data.sources.options import SourceOptions

SIDE = 128
Examples = list[Example]
LFS = "version https://git-lfs.github.com/spec/v1"


def clean_examples(folder: Path, *, studies: int = 60) -> tuple[Examples, tuple[str, ...]]:
    """Generated studies of different reports, and the names of their labels."""
    from mmil_cli.stages import phantom

    phantom.run(folder, studies=studies, side=SIDE, seed=3, workers=1)
    manifest = find_records(folder, SourceOptions())
    outcomes = [convert(record, side=SIDE, encoding=Encoding.PNG) for record in manifest.records]
    examples = [outcome for outcome in outcomes if isinstance(outcome, Example)]
    return [e for e in examples if _wrote_first(e, examples)], manifest.label_names


def _wrote_first(example: Example, examples: Examples) -> bool:
    """Whether no earlier study has the same report, as short normal ones do."""
    first_of_text = next(other for other in examples if other.text_key == example.text_key)
    return first_of_text.record.study_id == example.record.study_id


def write_dataset(
    folder: Path, examples: Sequence[Example], label_names: tuple[str, ...], *, shard_rows: int = 32
) -> DatasetInfo:
    """The examples as a dataset folder, whatever is wrong with them."""
    plan, records = Plan({}, "planted"), [example.record for example in examples]
    with Workshop(folder) as workshop:
        workshop.start(plan, b"", overwrite=False)
        writer = ShardWriter(workshop, Layout(label_names, Encoding.PNG, SIDE, folder, shard_rows))
        for example in examples:
            writer.add(example, state=bytes(16))
        writer.flush()
        return writer.publish(plan, {"mmil": "test"}, count_splits(records, writer.kept))


def pixels(example: Example) -> np.ndarray:
    return decode(example.image, encoding=Encoding.PNG, height=example.height, width=example.width)


def with_pixels(example: Example, film: np.ndarray) -> Example:
    height, width = film.shape
    return replace(example, image=encode(film, Encoding.PNG), height=height, width=width)


def with_record(example: Example, **fields: object) -> Example:
    return replace(example, record=replace(example.record, **fields))


def with_report(example: Example, *sentences: str) -> Example:
    section = Section("findings", " ".join(sentences))
    return replace(example, sections=(section,), sentences=sentences, text_key="\n".join(sentences).lower())


def first(examples: Examples, split: str, *, view: str | None = None, skip: int = 0) -> int:
    """The place of a film of a split, of a study and a patient with no other film."""
    alone = [
        place
        for place, example in enumerate(examples)
        if example.record.split == split
        and view in (None, example.view)
        and sum(other.record.patient_id == example.record.patient_id for other in examples) == 1
    ]
    return alone[skip]


def change(place: int, change_one: Callable[[Example], Example], examples: Examples) -> Examples:
    return [change_one(example) if n == place else example for n, example in enumerate(examples)]


def flatter(film: np.ndarray) -> np.ndarray:
    return (film * 0.7 + 40).astype(np.uint8)


def copied(examples: Examples, to: str, alter: Callable[[np.ndarray], np.ndarray]) -> Examples:
    """A training film, altered, in the place of another study's of a split."""
    film = alter(pixels(examples[first(examples, "train")]))
    return change(first(examples, to, skip=1), lambda example: with_pixels(example, film), examples)


def same_report(examples: Examples, to: str) -> Examples:
    """A report without a finding in it, word for word in two studies."""
    told = "The cardiac contour and the soft tissues are as expected."
    for split, skip in (("train", 0), (to, 1)):
        examples = change(first(examples, split, skip=skip), lambda e: with_report(e, told), examples)
    return examples


def contradicted(examples: Examples, label_names: tuple[str, ...]) -> Examples:
    """Effusion labelled 1 under a report that denies it."""
    labels = tuple(1 if name == "Pleural Effusion" else None for name in label_names)
    place = first(examples, "train")
    told = "No pleural effusion is seen beside the sixth of the ribs."
    return change(place, lambda e: with_record(with_report(e, told), labels=labels), examples)


def patient_in_two_splits(examples: Examples) -> Examples:
    patient = examples[first(examples, "train")].record.patient_id
    return change(first(examples, "test"), lambda e: with_record(e, patient_id=patient), examples)


def study_in_two_splits(examples: Examples) -> Examples:
    study = examples[first(examples, "train")].record.study_id
    return change(first(examples, "test"), lambda e: with_record(e, study_id=study), examples)


def _same(film: np.ndarray) -> np.ndarray:
    return film


ROWS: dict[str, Callable[[Examples, tuple[str, ...]], Examples]] = {
    "lfs-pointers": lambda e, _: change(first(e, "train"), lambda x: with_report(x, LFS), e),
    "damaged-films": lambda e, _: change(first(e, "train"), lambda x: replace(x, image=x.image[:300]), e),
    "blank-films": lambda e, _: change(
        first(e, "train"), lambda x: with_pixels(x, np.full((SIDE, SIDE), 12, np.uint8)), e
    ),
    "empty-reports": lambda e, _: change(first(e, "train"), lambda x: with_report(x, "___."), e),
    "leaked-patients": lambda e, _: patient_in_two_splits(e),
    "leaked-studies": lambda e, _: study_in_two_splits(e),
    "leaked-films": lambda e, _: copied(e, "test", _same),
    "duplicate-films": lambda e, _: copied(e, "train", _same),
    "leaked-near-films": lambda e, _: copied(e, "test", flatter),
    "near-duplicate-films": lambda e, _: copied(e, "train", flatter),
    "leaked-reports": lambda e, _: same_report(e, "test"),
    "duplicate-reports": lambda e, _: same_report(e, "train"),
    "inverted-films": lambda e, _: change(
        first(e, "train", view="PA"), lambda x: with_pixels(x, 255 - pixels(x)), e
    ),
    "contradicted-labels": contradicted,
}
"""Faults of rows, by the name of the check that must find them."""


def spoil_shard(folder: Path) -> None:
    """One byte of the second shard is another; its size is not."""
    path = folder / "shard-00001.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "changed": ("damaged-shards", spoil_shard),
    "missing": ("damaged-shards", lambda folder: (folder / "shard-00001.arrow").unlink()),
    "cut": ("damaged-shards", lambda folder: (folder / "shard-00001.arrow").write_bytes(b"")),
    "pointer": ("lfs-pointers", lambda folder: (folder / "shard-00001.arrow").write_text(LFS + "\n")),
}
"""Faults of files: the check that must find each."""
