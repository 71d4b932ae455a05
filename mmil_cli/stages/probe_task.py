"""What a probe works on: labels, patients, rows of each split, and what the model gives for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.splits import normalise_split
from mmil_cli.errors import DataError, UsageError
from mmil_cli.stages.class_targets import ClassTarget, grades_of, one_of
from mmil_cli.stages.evaluation import Evaluation, OnProgress, join, parts_of
from mmil_cli.stages.film_labels import FilmLabels
from mmil_cli.stages.findings import resolve_labels
from mmil_cli.stages.label_sets import LabelSet
from mmil_cli.stages.policies import Missing, Uncertain
from mmil_cli.stages.probe_inputs import RegionInputs
from mmil_cli.stages.probe_readers import Parts
from mmil_cli.stages.zero_shot import ZeroShot

TRAIN, VALIDATE = "train", "validate"


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeTask:
    """What to classify, and on which films.

    Attributes:
        names: the findings.
        labels: 0, 1 or NaN of all rows of the dataset [rows, F].
        targets: further tasks, each of several classes.
        patients: of all rows.
        images: ids of all rows.
        train: rows to fit on; none when nothing is to be fitted.
        validate: rows to choose on (penalties, thresholds, when to stop); may be none.
        scored: rows of the split that is scored.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    targets: tuple[ClassTarget, ...]
    patients: np.ndarray
    images: np.ndarray
    train: np.ndarray
    validate: np.ndarray
    scored: np.ndarray

    @property
    def roles(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows to fit on, to choose on, and to score."""
        return self.train, self.validate, self.scored

    def label_set(self) -> LabelSet:
        """All labels that may be learned from."""
        return LabelSet(
            names=self.names,
            train=self.labels[self.train],
            validate=self.labels[self.validate],
            classes=tuple(
                target.of_rows(train=self.train, validate=self.validate, scored=self.scored)
                for target in self.targets
            ),
            train_patients=self.patients[self.train],
            validate_patients=self.patients[self.validate],
        )


@dataclass(frozen=True, eq=False)
class PromptLogits:
    """What prompts give for the films of a split.

    Attributes:
        ensembles: logits with the positive and the negative ensemble of each finding [n, findings, 2].
        single: logits with every single prompt [n, prompts].
    """

    ensembles: np.ndarray
    single: np.ndarray


@dataclass(frozen=True, eq=False)
class ProbeFeatures:
    """What the model gives for the rows of a task.

    Attributes:
        pooled: features of the films to fit on, to choose on and to score [n, C].
        regions: the same films as bags of regions; None if not asked for.
        prompts: of the films to choose on, and to score; None if not asked for.
    """

    pooled: Parts
    regions: tuple[RegionInputs, RegionInputs, RegionInputs] | None
    prompts: tuple[PromptLogits, PromptLogits] | None


def plan_task(
    dataset: StudyDataset,
    told: FilmLabels,
    *,
    names: tuple[str, ...],
    classes: Sequence[str],
    split: str,
    uncertain: Uncertain,
    missing: Missing,
    fit: bool,
) -> ProbeTask:
    """The labels, and the rows of each role.

    Args:
        dataset: of the films.
        told: their labels.
        names: the findings, as they are spelt there.
        classes: findings that films have exactly one of, to be told apart; none for no such task.
        split: to be scored.
        uncertain: what the label -1 counts as.
        missing: what a blank label counts as.
        fit: whether anything is to be learned from labels.

    Raises:
        UsageError: a split is missing, or the probe would be scored on what it was fitted on.
    """
    scored = dataset.indices(split)
    nothing = np.empty(0, np.int64)
    if fit and normalise_split(split) == TRAIN:
        raise UsageError(
            "what is fitted on the train split cannot be scored there; "
            "give another --split, or --method zero-shot"
        )
    tune = VALIDATE in dataset.splits and normalise_split(split) != VALIDATE
    labels = resolve_labels(told.of(names), uncertain=uncertain, missing=missing)
    further = (one_of(classes, told.of(classes)),) if classes else ()
    return ProbeTask(
        names=names,
        labels=labels,
        targets=(*grades_of(names, labels), *further),
        patients=dataset.column("patient_id"),
        images=dataset.column("image_id"),
        train=dataset.indices(TRAIN) if fit else nothing,
        validate=dataset.indices(VALIDATE) if tune else nothing,
        scored=scored,
    )


def embed_task(
    evaluation: Evaluation,
    task: ProbeTask,
    *,
    zero_shot: ZeroShot | None = None,
    regions: bool = False,
    on_progress: OnProgress | None = None,
) -> ProbeFeatures:
    """One pass of the model over all the rows of a task: every method, share of labels and seed reads it.

    Raises:
        DataError: the model gives a feature that is not a finite number.
    """
    parts, done = [], 0
    total = sum(len(rows) for rows in task.roles)
    for rows, prompts in zip(task.roles, (None, zero_shot, zero_shot), strict=True):
        progress = parts_of(total, before=done, on_progress=on_progress)
        parts.append(_embed(evaluation, rows, zero_shot=prompts, regions=regions, on_progress=progress))
        done += len(rows)
    width = next((part.pooled.shape[1] for part in parts if len(part.pooled)), 0)
    return ProbeFeatures(
        pooled=Parts(*(part.pooled.reshape(-1, width) for part in parts)),
        regions=tuple(part.regions for part in parts) if regions else None,  # type: ignore[arg-type]
        prompts=(parts[1].prompts, parts[2].prompts) if zero_shot else None,
    )


@dataclass(frozen=True, eq=False)
class _Embedded:
    pooled: np.ndarray
    regions: RegionInputs
    prompts: PromptLogits


def _embed(
    evaluation: Evaluation,
    rows: np.ndarray,
    *,
    zero_shot: ZeroShot | None,
    regions: bool,
    on_progress: OnProgress | None,
) -> _Embedded:
    pooled, bags, masks, ensembles, single = [], [], [], [], []
    for _, films in evaluation.blocks(rows, on_progress=on_progress):
        pooled.append(films.pooled.numpy())
        if regions:
            bags.append(films.regions.features.half())  # unit vectors: half precision loses 0.05 %
            masks.append(films.regions.mask)
        if zero_shot:
            ensembles.append(zero_shot.logits(films.regions))
            single.append(zero_shot.single_scores(films.regions))
    if not all(np.isfinite(part).all() for part in pooled):
        raise DataError(
            f"{evaluation.checkpoint.folder} gives features that are not finite for films of "
            f"{evaluation.dataset.folder}; audit the dataset with mmil audit, or pretrain again"
        )
    return _Embedded(
        pooled=join(pooled),
        regions=RegionInputs(_cat(bags), _cat(masks)),
        prompts=PromptLogits(join(ensembles), join(single)),
    )


def _cat(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if parts else torch.empty(0)
