"""Results of checkpoints that are to be compared: each is probed and tried in retrieval on one dataset."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmil_cli.checkpoint import CARD
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import UsageError
from mmil_cli.stages import probe, retrieve
from mmil_cli.stages.compare import distinct_names
from mmil_cli.stages.evaluation import OnProgress
from mmil_cli.stages.policies import Method, Missing, Uncertain

OnModel = Callable[[str], OnProgress]
"""Told of each model and task; gives what to call with (films done, of how many)."""


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint or a run."""
    return (folder / CARD).is_file() or (folder / "checkpoint" / CARD).is_file()


def evaluate_checkpoints(
    folders: Sequence[Path],
    data: Path | None,
    out: Path,
    *,
    split: str = "test",
    uncertain: Uncertain = Uncertain.IGNORE,
    missing: Missing = Missing.IGNORE,
    seed: int = 0,
    device: str = "auto",
    on_model: OnModel,
) -> tuple[list[Path], list[str]]:
    """Folders of results for all that was given: results as they are, checkpoints evaluated.

    Checkpoints are probed linearly where the dataset has labels, and tried in retrieval where it has reports.

    Args:
        folders: of results or checkpoints.
        data: dataset folder; needed where there are checkpoints.
        out: results of the model NAME go to `out/NAME`.
        split: to score.
        uncertain: what the label -1 counts as.
        missing: what a blank label counts as.
        seed: of probe and bootstrap.
        device: auto, cpu or cuda.
        on_model: watches.

    Returns:
        The folders of results, and what the models are called.

    Raises:
        UsageError: checkpoints without a dataset, or a dataset that no checkpoint was given for.
    """
    names = distinct_names(folders)
    checkpoints = [folder for folder in folders if is_checkpoint(folder)]
    if checkpoints and data is None:
        raise UsageError(f"{checkpoints[0]} is a checkpoint; give the dataset to try it on with --data")
    if data is not None and not checkpoints:
        raise UsageError("--data is for checkpoints, and none is among the folders to compare")
    found = []
    for name, folder in zip(names, folders, strict=True):
        if folder not in checkpoints:
            found.append(folder)
            continue
        assert data is not None
        place = out / name.replace("/", "_")
        dataset = StudyDataset.open(data)
        if dataset.label_names:
            probe.run(
                data, checkpoint=folder, out=place / "probe", methods=[Method.LINEAR], split=split,
                uncertain=uncertain, missing=missing, seed=seed, device=device,
                on_progress=on_model(f"{name}: probe"),
            )  # fmt: skip
        if not dataset.info.options.get("labels_only"):
            retrieve.run(
                data, checkpoint=folder, out=place / "retrieve", split=split, seed=seed, device=device,
                on_progress=on_model(f"{name}: retrieve"),
            )  # fmt: skip
        found.append(place)
    return found, names
