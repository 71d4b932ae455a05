"""Loss, retrieval and zero-shot AUROC on held-out films while training, by the score of everywhere else."""

import numpy as np
import torch

from mmil_cli.config.prompts import Prompts, load_prompts
from mmil_cli.config.recipe import RunSection
from mmil_cli.core.bags import RegionBag, SentenceBag, join_films
from mmil_cli.core.losses.pairing import pair_batch
from mmil_cli.data.batches import number_values
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.studies import Bags
from mmil_cli.errors import UsageError
from mmil_cli.inference import Embedder
from mmil_cli.metrics.classification import auroc
from mmil_cli.metrics.ranks import match_ranks, recall_at
from mmil_cli.stages.findings import matching, resolve_labels
from mmil_cli.stages.policies import Missing, Uncertain
from mmil_cli.stages.zero_shot import ZeroShot

PROMPTS = "chexpert"
ZERO_SHOT = "zero_shot_auroc"


def validate(embedder: Embedder, dataset: StudyDataset, bags: Bags, *, batch_size: int) -> dict[str, float]:
    """Metrics of some films, bagged as in training, ready for the log.

    Returns:
        loss: mean over batches of `batch_size` of the training objective without augmentation.
        chance_loss: what guessing would cost there.
        image_to_text_r@1 / r@5, text_to_image_r@1 / r@5: a match shares the study or the text.
        zero_shot_auroc: mean over the findings that the dataset has labels of and the shipped prompts have
            sentences for, with films of both kinds among the rows; a blank label counts as absent. Left out
            where there is no such finding. Film by film, as `mmil probe` has it.

    Nothing at all of no rows.
    """
    if not len(bags.rows):
        return {}
    records = [dataset.row(int(row)) for row in bags.rows]
    rows = bags.all_films()
    images = embedder.dataset(dataset, rows.tolist())
    regions = join_films(images.regions, torch.from_numpy(bags.bag_of_films()), num_bags=len(records))
    reports = embedder.reports([record.sentences for record in records])
    study = number_values([record.study_id for record in records])
    text = number_values([record.text_key for record in records])
    recalls = _recalls(embedder.logits(regions, reports).numpy(), study.numpy(), text.numpy())
    losses = _losses(embedder, regions, reports, study, text, batch_size)
    return {**losses, **recalls, **_zero_shot(embedder, dataset, rows, images.regions)}


def prompts_of(dataset: StudyDataset) -> dict[str, Prompts]:
    """The shipped prompts of the findings that a dataset has labels of."""
    return matching(load_prompts(PROMPTS), dataset.label_names)


def refuse_metric(run: RunSection, dataset: StudyDataset, rows: np.ndarray) -> None:
    """Refuses to choose checkpoints by what will not be there.

    Raises:
        UsageError: there are no films to validate on, or no finding for the metric, or nothing to choose.
    """
    if run.keep == "last" and not run.patience:
        if run.metric != RunSection().metric:
            raise UsageError("run.metric is for run.keep=best and run.patience; set one of them, or leave it")
        return
    if not len(rows):
        raise UsageError(
            f"run.keep=best and run.patience need a validate split, and {dataset.folder} has none for this "
            "recipe; leave them out, or name validate rows in the split column of the source"
        )
    if run.metric == ZERO_SHOT and not _has_both(*_labelled(dataset, rows)):
        raise UsageError(
            f"run.metric={ZERO_SHOT} needs labels of findings that the shipped prompts know, and "
            f"{dataset.folder} has none on its validate split; choose another metric"
        )


def _labelled(dataset: StudyDataset, rows: np.ndarray) -> tuple[dict[str, Prompts], np.ndarray]:
    """The prompts of the findings, and 0, 1 or NaN for each of the rows and findings."""
    prompts = prompts_of(dataset)
    labels = dataset.labels(tuple(prompts))[rows]
    return prompts, resolve_labels(labels, uncertain=Uncertain.IGNORE, missing=Missing.NEGATIVE)


def _has_both(prompts: dict[str, Prompts], labels: np.ndarray) -> dict[str, Prompts]:
    """The prompts of the findings that some of the rows have and some have not."""
    return {
        name: pair
        for (name, pair), column in zip(prompts.items(), labels.T, strict=True)
        if (column == 0).any() and (column == 1).any()
    }


def _zero_shot(
    embedder: Embedder, dataset: StudyDataset, rows: np.ndarray, regions: RegionBag
) -> dict[str, float]:
    prompts, labels = _labelled(dataset, rows)
    known = _has_both(prompts, labels)
    if not known:
        return {}
    scores = ZeroShot(embedder, known).scores(regions)
    columns = labels[:, [list(prompts).index(name) for name in known]]
    return {ZERO_SHOT: float(np.mean([auroc(*pair) for pair in zip(columns.T, scores.T, strict=True)]))}


@torch.inference_mode()
def _losses(
    embedder: Embedder,
    images: RegionBag,
    reports: SentenceBag,
    study: torch.Tensor,
    text: torch.Tensor,
    batch_size: int,
) -> dict[str, float]:
    score, losses, chances = embedder.model.score, [], []
    for part in torch.arange(len(study)).split(batch_size):
        regions = images[part].to(embedder.device)
        bag = reports[part].to(embedder.device)
        pairing = pair_batch(study[part].to(embedder.device), text[part].to(embedder.device))
        losses.append(score.loss(regions, bag, pairing).total.item())
        chances.append(score.chance_loss(pairing).item())
    return {"loss": float(np.mean(losses)), "chance_loss": float(np.mean(chances))}


def _recalls(scores: np.ndarray, study: np.ndarray, text: np.ndarray) -> dict[str, float]:
    relevant = (study[:, None] == study[None, :]) | (text[:, None] == text[None, :])
    found = {}
    for direction, matrix in (("image_to_text", scores), ("text_to_image", scores.T)):
        ranks = match_ranks(matrix, relevant)
        for k in (1, 5):
            found[f"{direction}_r@{k}"] = float(recall_at(ranks, k).mean())
    return found
