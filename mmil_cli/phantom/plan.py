"""Who the patients are, what they have, and which films are taken: all decided before anything is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from mmil_cli.phantom.difficulty import SETTINGS, Difficulty
from mmil_cli.phantom.findings import Finding
from mmil_cli.phantom.scenarios import sample_findings

SPLITS = (("train", 0.7), ("validate", 0.1), ("test", 0.2))
NUM_STUDIES = ((1, 0.55), (2, 0.25), (3, 0.14), (4, 0.06))


@dataclass(frozen=True)
class FilmPlan:
    """One film to take."""

    dicom_id: str
    view: str
    index: int


@dataclass(frozen=True)
class StudyPlan:
    """One study to write, complete in itself so that any process can write it.

    Attributes:
        new: for each finding, whether it was absent from the study before; all False without one.
        has_prior: whether the patient had a study before.
    """

    index: int
    subject_id: int
    study_id: int
    split: str
    patient_seed: int
    seed: int
    findings: tuple[Finding, ...]
    new: tuple[bool, ...]
    has_prior: bool
    films: tuple[FilmPlan, ...]
    date: str
    time: str

    @property
    def folder(self) -> str:
        """Where the films lie, relative to the root of the tree."""
        return f"files/p{str(self.subject_id)[:2]}/p{self.subject_id}/s{self.study_id}"


def plan_studies(studies: int, *, seed: int, difficulty: Difficulty) -> list[StudyPlan]:
    """Plans for exactly `studies` studies, by patient; the same arguments give the same plans."""
    rng = np.random.default_rng([seed, 1])
    counts = _studies_by_patient(studies, rng=rng)
    subjects = np.sort(rng.choice(9_000_000, len(counts), replace=False)) + 10_000_000
    study_ids = rng.choice(9_000_000, studies, replace=False) + 50_000_000
    splits = _splits(counts, rng=rng)
    plans: list[StudyPlan] = []
    for patient, count in enumerate(counts):
        ids = study_ids[len(plans) : len(plans) + count]
        plans += _plan_patient(
            patient,
            subject_id=int(subjects[patient]),
            study_ids=[int(i) for i in ids],
            first_index=len(plans),
            split=splits[patient],
            seed=seed,
            difficulty=difficulty,
        )
    return plans


def _studies_by_patient(studies: int, *, rng: np.random.Generator) -> list[int]:
    """How many studies each patient has; at least three patients where there are three studies."""
    numbers, shares = zip(*NUM_STUDIES, strict=True)
    counts: list[int] = []
    left = studies
    while left:
        most = max(1, left - max(0, 2 - len(counts)))
        counts.append(min(int(rng.choice(numbers, p=shares)), most))
        left -= counts[-1]
    return counts


def _splits(counts: Sequence[int], *, rng: np.random.Generator) -> list[str]:
    """A split for each patient, the shares held as closely as whole patients allow."""
    order = rng.permutation(len(counts))
    total = sum(counts)
    given = dict.fromkeys((name for name, _ in SPLITS), 0)
    result = [""] * len(counts)
    for patient in order:
        empty = [name for name, number in given.items() if not number]
        name = empty[0] if empty else max(SPLITS, key=lambda item: item[1] * total - given[item[0]])[0]
        result[int(patient)] = name
        given[name] += counts[int(patient)]
    return result


def _plan_patient(
    patient: int,
    *,
    subject_id: int,
    study_ids: Sequence[int],
    first_index: int,
    split: str,
    seed: int,
    difficulty: Difficulty,
) -> list[StudyPlan]:
    rng = np.random.default_rng([seed, 2, patient])
    patient_seed = int(rng.integers(2**31))
    day = np.datetime64(f"{int(rng.integers(2110, 2190))}-01-01") + int(rng.integers(365))
    before: tuple[Finding, ...] = ()
    plans = []
    for number, study_id in enumerate(study_ids):
        findings, acute = sample_findings(rng, settings=SETTINGS[difficulty], before=before)
        day = day + int(rng.integers(1, 200))
        clock = f"{int(rng.integers(24)):02d}{int(rng.integers(60)):02d}{int(rng.integers(60)):02d}.000"
        plans.append(
            StudyPlan(
                index=first_index + number,
                subject_id=subject_id,
                study_id=study_id,
                split=split,
                patient_seed=patient_seed,
                seed=int(rng.integers(2**31)),
                findings=findings,
                new=tuple(number > 0 and f not in before for f in findings),
                has_prior=number > 0,
                films=_films(rng, acute=acute, seed=seed, study_id=study_id),
                date=str(day).replace("-", ""),
                time=clock,
            )
        )
        before = findings
    return plans


def _films(rng: np.random.Generator, *, acute: bool, seed: int, study_id: int) -> tuple[FilmPlan, ...]:
    """The views of one study; bedside films are AP, a lateral goes only with a PA film."""
    frontal = "AP" if acute or rng.random() < 0.28 else "PA"
    chance = rng.random()
    views = [frontal]
    if frontal == "PA" and chance < 0.3:
        views.append("LATERAL")
    elif chance > 0.84:
        views.append(frontal)
    return tuple(FilmPlan(dicom_id(seed, study_id, index), view, index) for index, view in enumerate(views))


def dicom_id(seed: int, study_id: int, index: int) -> str:
    """Five groups of eight hexadecimal digits, as MIMIC-CXR's."""
    digest = sha256(f"film/{seed}/{study_id}/{index}".encode()).hexdigest()
    return "-".join(digest[i : i + 8] for i in range(0, 40, 8))
