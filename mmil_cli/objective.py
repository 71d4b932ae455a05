"""What pretraining minimises: each term's InfoNCE between the films and the reports of a batch."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from mmil_cli.core.bags import SentenceBag
from mmil_cli.core.losses.infonce import info_nce
from mmil_cli.core.losses.pairing import SameGroup, pair_batch
from mmil_cli.core.model import DualEncoder
from mmil_cli.data.batches import Batch
from mmil_cli.data.transforms import Augment, normalise
from mmil_cli.training.loop import Losses


class ContrastiveObjective:
    """L = sum over terms t of InfoNCE(logit_scale_t S_t), each with weight 1.

    For lse+nl that is the local plus the global loss (arXiv 2212.05561; this form is ours [ours]).
    The encoders run in the precision of `autocast`, the scores and losses in float32.

    Args:
        model: both towers and the score.
        augment: random changes of the films.
        mean: subtracted from pixels in [0, 1].
        std: divides them then.
        same_group: what to make of same-study and same-text pairs.
        autocast: makes the context the encoders run in.
    """

    def __init__(
        self,
        model: DualEncoder,
        *,
        augment: Augment,
        mean: float,
        std: float,
        same_group: SameGroup,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.model = model
        self.augment = augment
        self.mean = mean
        self.std = std
        self.same_group = same_group
        self.autocast = autocast

    def __call__(self, batch: Batch, generator: torch.Generator) -> Losses:
        """The loss of a batch and its parts by term and direction, with every logit scale."""
        films, cover = self.augment(batch.films, batch.cover, generator)
        with self.autocast():
            images = self.model.encode_images(normalise(films, mean=self.mean, std=self.std), cover)
            sentences = self.model.encode_sentences(batch.tokens, batch.token_mask)
        reports = SentenceBag(features=sentences, index=batch.sentence_index)
        pairing = pair_batch(batch.study, batch.text, same_group=self.same_group)
        total, parts = torch.zeros((), device=films.device), {}
        for name, term in self.model.score(images.regions, reports).items():
            loss = info_nce(term.logits, pairing)
            total = total + loss.total
            parts[f"{name}/image_to_text"] = loss.image_to_text.detach()
            parts[f"{name}/text_to_image"] = loss.text_to_image.detach()
            parts[f"{name}/logit_scale"] = term.logit_scale.detach()
        return Losses(total=total, parts=parts)
