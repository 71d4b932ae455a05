"""Pretrain: a dataset folder and a recipe in, a run folder with a checkpoint out."""

import shutil
from pathlib import Path

from mmil_cli.checkpoint import open_checkpoint
from mmil_cli.config.compare import deciding, differences
from mmil_cli.config.load import dump
from mmil_cli.config.recipe import Recipe
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.info import INFO_FILE
from mmil_cli.errors import UsageError
from mmil_cli.files import recover_folder, remove
from mmil_cli.stages.pretrain_data import plan_batches
from mmil_cli.stages.pretrain_keep import CHECKPOINT, LOG, NOT_FINITE, RECIPE, STATE, TOKENIZER
from mmil_cli.stages.pretrain_run import PretrainResult, Progress, Run, Watchers
from mmil_cli.stages.pretrain_shares import refuse_shares
from mmil_cli.training.processes import processes_of_job
from mmil_cli.training.sinks import TENSORBOARD
from mmil_cli.training.state import RunIdentity

__all__ = ["PretrainResult", "Progress", "Watchers", "run"]


def run(
    data: Path,
    out: Path,
    *,
    recipe: Recipe,
    device: str = "auto",
    overwrite: bool = False,
    watchers: Watchers | None = None,
) -> PretrainResult:
    """Trains both towers on the train split; the same call again goes on where an interrupted one stopped.

    Under torchrun the processes share every batch and come to the losses of one; the first of them writes the
    run folder and has the watchers.

    Args:
        data: dataset folder of `mmil preprocess`.
        out: run folder: checkpoint/, log.jsonl, recipe.yaml, and state.pt while it is unfinished.
        recipe: everything that decides the run.
        device: auto, cpu or cuda.
        overwrite: start anew where a run of another recipe or dataset lies.
        watchers: told of steps, validations and notes.

    Raises:
        UsageError: too few films for a batch, an empty split, a run folder of another recipe or dataset.
        AlreadyTold: of several processes this is not the one that tells what has ended them.
    """
    with processes_of_job(device) as processes:
        refuse_shares(recipe, processes.size)
        dataset = StudyDataset.open(data)
        identity = RunIdentity(recipe=deciding(dump(recipe)), dataset_hash=dataset.info.content_hash)
        _refuse_dataset_folder(out)
        schedule = plan_batches(dataset, recipe)
        finished = processes.from_first(lambda: None if overwrite else _finished(out, identity))
        if finished:
            return finished
        prepared = Run(
            dataset,
            out,
            recipe=recipe,
            schedule=schedule,
            identity=identity,
            processes=processes,
            anew=overwrite,
            watchers=watchers or Watchers(),
        )
        if overwrite and processes.is_first:  # only now: all that can be wrong with the recipe has been found
            _clear(out)
        return prepared.go()


def _refuse_dataset_folder(out: Path) -> None:
    """A run inside a dataset folder would go with it when the dataset is made again."""
    if (out / INFO_FILE).is_file():
        raise UsageError(f"{out} is a dataset folder; give the run a folder of its own with --out")


def _finished(out: Path, identity: RunIdentity) -> PretrainResult | None:
    """The result of a run that is already complete, or None; a run of something else is refused."""
    recover_folder(out / CHECKPOINT)
    if not (out / CHECKPOINT / "card.json").is_file():
        return None
    found = open_checkpoint(out)
    there = deciding(found.recipe)
    if there != identity.recipe or found.card.dataset_hash != identity.dataset_hash:
        how = differences(there, identity.recipe)
        what = f"recipe ({how})" if there != identity.recipe else "dataset"
        raise UsageError(
            f"{out} holds a run of another {what}; give another --out, or --overwrite to replace it"
        )
    if found.card.ended_at is None:  # the checkpoint of a validation on the way
        return None
    return PretrainResult(
        checkpoint=found.folder,
        num_steps=found.card.ended_at,
        resumed_at=found.card.ended_at,
        metrics=found.card.metrics,
        weights=None,
    )


def _clear(out: Path) -> None:
    """Removes a run's own files and nothing else."""
    for name in (CHECKPOINT, TOKENIZER, TENSORBOARD):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in (LOG, STATE, RECIPE, NOT_FINITE):
        remove(out / name)
