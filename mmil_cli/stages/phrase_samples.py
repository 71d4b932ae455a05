"""Which phrases of a table are evaluated on a dataset, with what controls beside each."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from mmil_cli.data.dataset import Row, StudyDataset
from mmil_cli.data.phrase import Phrase, box_fault, read_mask
from mmil_cli.data.splits import normalise_split
from mmil_cli.errors import DataError, listing
from mmil_cli.metrics.regions import Box, boxes_mask, location_prior

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
        calibration: those of them on films of the validate split that the dataset has, for the calibration
            of maps.
        num_unknown: phrases whose film is not in the dataset at all.
        num_other_splits: phrases whose film is in another split.
    """

    samples: tuple[Sample, ...]
    elsewhere: tuple[Phrase, ...]
    calibration: tuple[Sample, ...]
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
    chosen = complete_phrases(chosen, rows, table)
    stand_ins = shuffled_phrases(chosen, seed=seed)
    samples = tuple(
        Sample(phrase=phrase, index=place[phrase.image_id], row=rows[phrase.image_id], shuffled=text)
        for phrase, text in zip(chosen, stand_ins, strict=True)
    )
    elsewhere = _elsewhere(phrases, dataset, place, rows, split)
    others = {p.image_id: dataset.row(place[p.image_id]) for p in elsewhere if p.image_id in place}
    known = complete_phrases(elsewhere, others, table)
    return Selection(
        samples=samples,
        elsewhere=tuple(known),
        calibration=_for_calibration(known, others, place, seed=seed),
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


def centre_prior(height: int, width: int) -> np.ndarray:
    """A Gaussian about the film's centre, sigma a quarter of each side, 1 at its peak [H, W]."""
    down, across = (np.exp(-8 * ((np.arange(n) + 0.5) / n - 0.5) ** 2) for n in (height, width))
    return np.outer(down, across)


def complete_phrases(phrases: Sequence[Phrase], rows: Mapping[str, Row], table: Path) -> list[Phrase]:
    """The phrases with their film's size where the table does not tell it, boxes in pixels of the film.

    Args:
        phrases: of films that `rows` has, or that nobody knows; these are left out if their size is unknown.
        rows: of the dataset, by image id.
        table: named in messages.

    Raises:
        DataError: a box, mask or size contradicts the film.
    """
    found, wrong = [], []
    for phrase in phrases:
        row = rows.get(phrase.image_id)
        if row is None:
            if phrase.width > 1 and not phrase.masks:
                found.append(phrase)
            continue
        completed = _completed(phrase, row)
        fault = _fault(completed, row)
        if fault:
            wrong.append(f"row {phrase.row} {fault}")
        found.append(completed)
    if wrong:
        raise DataError(
            f"{table}: {len(wrong)} phrases contradict the size of their film ({listing(wrong, 4)}); "
            "boxes and masks must be in pixels of the films that preprocess read"
        )
    return found


def _completed(phrase: Phrase, row: Row) -> Phrase:
    width, height = row.source_width, row.source_height
    if (phrase.width, phrase.height) == (0, 0):
        return replace(phrase, width=width, height=height)
    if (phrase.width, phrase.height) == (1, 1):
        boxes = tuple((x * width, y * height, w * width, h * height) for x, y, w, h in phrase.boxes)
        return replace(phrase, width=width, height=height, boxes=boxes)
    return phrase


def _fault(phrase: Phrase, row: Row) -> str:
    width, height = row.source_width, row.source_height
    if (phrase.width, phrase.height) != (width, height):
        return f"says {phrase.width} x {phrase.height}, {row.image_id} has {width} x {height} pixels"
    for box in phrase.boxes:
        fault = box_fault(box, width=width, height=height)
        if fault:
            return f"of {row.image_id}: {fault}"
    for path in phrase.masks:
        rows, columns = read_mask(path).shape
        if (columns, rows) != (width, height):
            return f"has a mask of {columns} x {rows}, {row.image_id} has {width} x {height} pixels"
    return ""


def phrase_mask(phrase: Phrase, row: Row) -> np.ndarray:
    """The phrase's boxes, or masks, as one mask at the size of the stored film [h, w].

    Box edges are rounded to its pixels; of a mask a pixel is inside where at least half of its area is.
    """
    if not phrase.masks:
        inverse = row.to_source.inverse()
        return boxes_mask([inverse.box(box) for box in phrase.boxes], row.height, row.width)
    return _shrunk(phrase, row.height, row.width) >= 0.5


def coverage(phrase: Phrase) -> np.ndarray:
    """Which share of each cell of a common grid the phrase's boxes or masks cover [64, 64]."""
    if phrase.masks:
        return _shrunk(phrase, *PRIOR_GRID)
    return location_prior([_shares(phrase)], grid=PRIOR_GRID)


def _shrunk(phrase: Phrase, height: int, width: int) -> np.ndarray:
    """The mean of the masks' union over each cell of a grid, exact where the grid divides it."""
    union = np.logical_or.reduce([read_mask(path) for path in phrase.masks]).astype(np.float32)
    small = Image.fromarray(union).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, np.float64)


def _for_calibration(
    phrases: Sequence[Phrase], rows: Mapping[str, Row], place: Mapping[str, int], *, seed: int
) -> tuple[Sample, ...]:
    """Phrases of the validate split, with controls as the evaluated ones have them."""
    chosen = [p for p in phrases if p.image_id in rows and rows[p.image_id].split == "validate"]
    stand_ins = shuffled_phrases(chosen, seed=seed)
    return tuple(
        Sample(phrase=phrase, index=place[phrase.image_id], row=rows[phrase.image_id], shuffled=text)
        for phrase, text in zip(chosen, stand_ins, strict=True)
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
