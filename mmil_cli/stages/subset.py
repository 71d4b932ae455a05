"""Choose a benchmark of so many films a finding, and write its list of ids."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import UsageError
from mmil_cli.files import write_text
from mmil_cli.stages.findings import pick_findings

COLUMNS = ("image_id", "finding")


@dataclass(frozen=True)
class SubsetResult:
    """The list that was written.

    Attributes:
        images: ids by finding, in the order they were drawn.
        candidates: by finding, how many films could have been drawn.
    """

    path: Path
    images: dict[str, tuple[str, ...]]
    candidates: dict[str, int]


def run(
    data: Path, out: Path, *, findings: Sequence[str], each: int, split: str = "test", seed: int = 0
) -> SubsetResult:
    """Draw `each` films of every finding out of a split and write `image_id,finding`, a CSV.

    As CheXpert 5x200 of GLoRIA (ICCV 2021): a film is drawn for the one finding that it has, so of all those
    asked for exactly one is positive and none uncertain; a missing label counts as negative. Ours draws one
    film a study, by a keyed hash of the study's id, so that a list does not depend on the order of the rows
    and hardly changes when studies are added.

    Raises:
        UsageError: no such split or labels, fewer than two findings, or too few films of one.
    """
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed is {seed}; give 0 or a positive whole number below 2^63")
    if each < 1:
        raise UsageError(f"--each is {each}; draw at least 1 film of each finding")
    dataset = StudyDataset.open(data)
    names = pick_findings(dataset.label_names, findings)
    if len(names) < 2:
        raise UsageError("--findings names one finding; films are told apart by two or more, A,B,C")
    pools = _pools(dataset, names, split, seed)
    short = [f"{name} {len(pool)}" for name, pool in pools.items() if len(pool) < each]
    if short:
        raise UsageError(
            f"--each is {each}, but the split {split} has fewer studies with only that finding: "
            f"{', '.join(short)}; draw fewer, or leave the finding out"
        )
    images = {name: tuple(pool[:each]) for name, pool in pools.items()}
    write_text(out, _table(images))
    return SubsetResult(out, images, {name: len(pool) for name, pool in pools.items()})


def _pools(dataset: StudyDataset, names: Sequence[str], split: str, seed: int) -> dict[str, list[str]]:
    """The films that have one finding alone, one a study, in the order of their lots."""
    rows = dataset.indices(split)
    labels = np.nan_to_num(dataset.labels(names)[rows], nan=0.0)
    alone = (labels != 0).sum(axis=1) == 1
    studies, images = dataset.column("study_id")[rows], dataset.column("image_id")[rows]
    pools = {}
    for place, name in enumerate(names):
        first: dict[str, str] = {}
        for row in np.flatnonzero(alone & (labels[:, place] > 0)):
            study, image = str(studies[row]), str(images[row])
            first[study] = min(image, first.get(study, image))
        pools[name] = [first[study] for study in sorted(first, key=lambda study: _lot(study, seed))]
    return pools


def _lot(study: str, seed: int) -> bytes:
    return blake2b(study.encode(), digest_size=16, key=str(seed).encode()).digest()


def _table(images: dict[str, tuple[str, ...]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((image, name) for name, drawn in images.items() for image in drawn)
    return text.getvalue()
