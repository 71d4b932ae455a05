"""Which phrases of a table are evaluated on a dataset, with what controls beside each."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmil_cli.data.dataset import Row, StudyDataset
from mmil_cli.data.phrases import Phrase
from mmil_cli.data.splits import normalise_split
from mmil_cli.errors import DataError, listing
from mmil_cli.metrics.regions import Box, location_prior

PRIOR_GRID = (64, 64)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A phrase to evaluate.

    Attributes:
        phrase: with its boxes.
        index: row of the dataset.
        row: that row.
        shuffled: the phrase of another film that stands in its place in the control; None where the table
            has none to give.
    """

    phrase: Phrase
    index: int
    row: Row
    shuffled: str | None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The phrases of a table as far as a split of a dataset has their films.

    Attributes:
        samples: to evaluate, in the order of the table.
        elsewhere: phrases of films of other splits, for the location prior: neither film nor patient is
            among the samples.
        num_unknown: phrases whose film is not in the dataset at all.
        num_other_splits: phrases whose film is in another split.
    """

    samples: tuple[Sample, ...]
    elsewhere: tuple[Phrase, ...]
    num_unknown: int
    num_other_splits: int


def select(
    phrases: Sequence[Phrase], dataset: StudyDataset, *, split: str | None, seed: int, table: Path
) -> Selection:
    """The phrases of films of a split.

    Args:
        phrases: of the table.
        dataset: whose films are looked at.
        split: its split, or None for all films.
        seed: of the shuffled phrases.
        table: named in messages.

    Raises:
        DataError: no phrase belongs to a film of the split, or the table contradicts a film's size.
        UsageError: there is no such split.
    """
    place = {image_id: index for index, image_id in enumerate(dataset.column("image_id").tolist())}
    wanted = set(dataset.indices(split).tolist())
    chosen = [phrase for phrase in phrases if place.get(phrase.image_id) in wanted]
    num_unknown = sum(phrase.image_id not in place for phrase in phrases)
    if not chosen:
        raise DataError(
            f"none of the {len(phrases)} phrases of {table} belongs to a film of {dataset.folder}"
            f"{f' in split {split}' if split else ''} ({num_unknown} name films it does not have, such as "
            f"{listing([repr(phrase.image_id) for phrase in phrases], 3)}); "
            "give the dataset made from the same films, or another --split"
        )
    rows = {phrase.image_id: dataset.row(place[phrase.image_id]) for phrase in chosen}
    _check_sizes(chosen, rows, table)
    stand_ins = shuffled_phrases(chosen, seed=seed)
    samples = tuple(
        Sample(phrase=phrase, index=place[phrase.image_id], row=rows[phrase.image_id], shuffled=text)
        for phrase, text in zip(chosen, stand_ins, strict=True)
    )
    return Selection(
        samples=samples,
        elsewhere=_elsewhere(phrases, dataset, place, rows, split),
        num_unknown=num_unknown,
        num_other_splits=len(phrases) - num_unknown - len(chosen),
    )


def shuffled_phrases(phrases: Sequence[Phrase], *, seed: int) -> list[str | None]:
    """For each phrase the text of one of another film, drawn at random.

    It is of a category that has no phrase in the film itself; None where there is none such.
    """
    generator = np.random.default_rng(seed)
    categories = np.array([phrase.category for phrase in phrases])
    in_film: dict[str, set[str]] = defaultdict(set)
    for phrase in phrases:
        in_film[phrase.image_id].add(phrase.category)
    drawn: list[str | None] = []
    for phrase in phrases:
        others = np.flatnonzero(~np.isin(categories, list(in_film[phrase.image_id])))
        place = generator.random()  # one draw a phrase, so that a lack of choice does not shift the others
        drawn.append(phrases[others[int(place * len(others))]].text if len(others) else None)
    return drawn


def overall_prior(phrases: Sequence[Phrase]) -> np.ndarray | None:
    """Where boxes of any phrase lie in other films [64, 64]; None without any phrase."""
    return location_prior([_shares(phrase) for phrase in phrases], grid=PRIOR_GRID) if phrases else None


def finding_priors(phrases: Sequence[Phrase]) -> dict[str, np.ndarray]:
    """Where boxes of each category lie in other films, on a common grid [64, 64]; see `location_prior`."""
    of_category: dict[str, list[list[Box]]] = defaultdict(list)
    for phrase in phrases:
        of_category[phrase.category].append(_shares(phrase))
    return {category: location_prior(boxes, grid=PRIOR_GRID) for category, boxes in of_category.items()}


def centre_prior(height: int, width: int) -> np.ndarray:
    """A Gaussian about the film's centre, sigma a quarter of each side, 1 at its peak [H, W]."""
    down, across = (np.exp(-8 * ((np.arange(n) + 0.5) / n - 0.5) ** 2) for n in (height, width))
    return np.outer(down, across)


def _check_sizes(phrases: Sequence[Phrase], rows: Mapping[str, Row], table: Path) -> None:
    wrong = []
    for phrase in phrases:
        row = rows[phrase.image_id]
        if (phrase.width, phrase.height) != (row.source_width, row.source_height):
            size = f"{row.source_width} x {row.source_height}"
            wrong.append(
                f"row {phrase.row} says {phrase.width} x {phrase.height}, {row.image_id} has {size} pixels"
            )
    if wrong:
        raise DataError(
            f"{table}: {len(wrong)} phrases contradict the size of their film ({listing(wrong, 4)}); "
            "boxes must be in pixels of the films that preprocess read"
        )


def _elsewhere(
    phrases: Sequence[Phrase],
    dataset: StudyDataset,
    place: Mapping[str, int],
    evaluated: Mapping[str, Row],
    split: str | None,
) -> tuple[Phrase, ...]:
    """Phrases of another split; the dataset's word counts, else the table's, else the phrase is not used."""
    splits, patients = dataset.column("split"), dataset.column("patient_id")
    looked_at = {row.patient_id for row in evaluated.values()}
    kept = []
    for phrase in phrases:
        index = place.get(phrase.image_id)
        name = normalise_split(phrase.split) if index is None else str(splits[index])
        same_patient = index is not None and str(patients[index]) in looked_at
        if name and split and name != normalise_split(split) and not same_patient:
            kept.append(phrase)
    return tuple(kept)


def _shares(phrase: Phrase) -> list[Box]:
    return [
        (x / phrase.width, y / phrase.height, w / phrase.width, h / phrase.height)
        for x, y, w, h in phrase.boxes
    ]
