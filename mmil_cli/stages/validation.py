"""Loss and retrieval on held-out films while training, by the same score as everywhere else."""

import numpy as np
import torch

from mmil_cli.core.bags import SentenceBag
from mmil_cli.core.losses.pairing import pair_batch
from mmil_cli.core.model import ImageFeatures
from mmil_cli.data.batches import number_values
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.inference import Embedder
from mmil_cli.metrics.ranks import match_ranks, recall_at


def validate(
    embedder: Embedder, dataset: StudyDataset, rows: np.ndarray, *, batch_size: int
) -> dict[str, float]:
    """Metrics of some rows, ready for the log.

    Returns:
        loss: mean over batches of `batch_size` of the training objective without augmentation.
        chance_loss: what guessing would cost there.
        image_to_text_r@1 / r@5, text_to_image_r@1 / r@5: a match shares the study or the text.
    """
    records = [dataset.row(int(row)) for row in rows]
    images = embedder.dataset(dataset, rows.tolist())
    reports = embedder.reports([record.sentences for record in records])
    study = number_values([record.study_id for record in records])
    text = number_values([record.text_key for record in records])
    recalls = _recalls(embedder.logits(images.regions, reports).numpy(), study.numpy(), text.numpy())
    return {**_losses(embedder, images, reports, study, text, batch_size), **recalls}


@torch.inference_mode()
def _losses(
    embedder: Embedder,
    images: ImageFeatures,
    reports: SentenceBag,
    study: torch.Tensor,
    text: torch.Tensor,
    batch_size: int,
) -> dict[str, float]:
    score, losses, chances = embedder.model.score, [], []
    for part in torch.arange(len(study)).split(batch_size):
        regions = images.regions[part].to(embedder.device)
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
