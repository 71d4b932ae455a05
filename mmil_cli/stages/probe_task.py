"""What a probe works on: labels, patients, the rows of each split, and the features of their films."""

from dataclasses import dataclass

import numpy as np

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.splits import normalise_split
from mmil_cli.errors import UsageError
from mmil_cli.stages.evaluation import Evaluation, OnProgress, join, parts_of
from mmil_cli.stages.findings import resolve_labels
from mmil_cli.stages.linear_probe import Examples
from mmil_cli.stages.policies import Missing, Uncertain
from mmil_cli.stages.zero_shot import ZeroShot

TRAIN, VALIDATE = "train", "validate"


@dataclass(frozen=True, kw_only=True)
class ProbeTask:
    """What to classify, and on which films.

    Attributes:
        names: the findings.
        labels: 0, 1 or NaN of all rows of the dataset [rows, F].
        patients: of all rows.
        train: rows to fit on; none when nothing is to be fitted.
        validate: rows to choose the regularisation on; may be none.
        scored: rows of the split that is scored.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray
    train: np.ndarray
    validate: np.ndarray
    scored: np.ndarray

    def examples(self, rows: np.ndarray, features: np.ndarray, column: int) -> Examples:
        """The labelled films of some rows for one finding."""
        return Examples.labelled(features, self.labels[rows, column], self.patients[rows])


@dataclass(frozen=True)
class ProbeFeatures:
    """What the model gives for the rows of a task.

    Attributes:
        train: pooled features [n, C]; so are `validate` and `scored`.
        zero_shot: difference of logits of each finding that has prompts [n, findings]; None if not asked.
    """

    train: np.ndarray
    validate: np.ndarray
    scored: np.ndarray
    zero_shot: np.ndarray | None


def plan_task(
    dataset: StudyDataset,
    *,
    names: tuple[str, ...],
    split: str,
    uncertain: Uncertain,
    missing: Missing,
    fit: bool,
) -> ProbeTask:
    """The rows of each role.

    Args:
        dataset: with labels.
        names: the findings, as the dataset spells them.
        split: to be scored.
        uncertain: what the label -1 counts as.
        missing: what a blank label counts as.
        fit: whether a linear probe is to be fitted.

    Raises:
        UsageError: a split is missing, or the probe would be scored on what it was fitted on.
    """
    scored = dataset.indices(split)
    nothing = np.empty(0, np.int64)
    if fit and normalise_split(split) == TRAIN:
        raise UsageError(
            "the linear probe is fitted on the train split and cannot be scored there; "
            "give another --split, or --method zero-shot"
        )
    tune = fit and VALIDATE in dataset.splits and normalise_split(split) != VALIDATE
    return ProbeTask(
        names=names,
        labels=resolve_labels(dataset.labels(names), uncertain=uncertain, missing=missing),
        patients=dataset.column("patient_id"),
        train=dataset.indices(TRAIN) if fit else nothing,
        validate=dataset.indices(VALIDATE) if tune else nothing,
        scored=scored,
    )


def embed_task(
    evaluation: Evaluation, task: ProbeTask, zero_shot: ZeroShot | None, on_progress: OnProgress | None
) -> ProbeFeatures:
    """Pooled features of all the rows of a task, and zero-shot scores of those to be scored."""
    parts, done = [], 0
    total = sum(len(rows) for rows in (task.train, task.validate, task.scored))
    for rows, prompts in ((task.train, None), (task.validate, None), (task.scored, zero_shot)):
        progress = parts_of(total, before=done, on_progress=on_progress)
        parts.append(_embed(evaluation, rows, prompts, progress))
        done += len(rows)
    (train, _), (validate, _), (scored, scores) = parts
    return ProbeFeatures(train, validate, scored, scores if zero_shot else None)


def _embed(
    evaluation: Evaluation, rows: np.ndarray, zero_shot: ZeroShot | None, on_progress: OnProgress | None
) -> tuple[np.ndarray, np.ndarray]:
    pooled, scores = [], []
    for _, features in evaluation.blocks(rows, on_progress=on_progress):
        pooled.append(features.pooled.numpy())
        if zero_shot:
            scores.append(zero_shot.scores(features.regions))
    return join(pooled), join(scores)
