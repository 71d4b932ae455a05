"""What pretraining minimises: each term's objective between the films and the reports of a batch."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from mmil_cli.core.bags import SentenceBag
from mmil_cli.core.losses.pairing import SameGroup, pair_batch
from mmil_cli.core.model import DualEncoder
from mmil_cli.core.sentences import held_sentences
from mmil_cli.data.batches import Batch
from mmil_cli.data.transforms import Augment, normalise
from mmil_cli.training.loop import Losses


class ContrastiveObjective:
    """L = sum over terms t of weight_t objective_t(logit_scale_t S_t).

    For lse+nl that is the local plus the global loss (arXiv 2212.05561; this form is ours [ours]).
    The encoders run in the precision of `autocast`, the scores and losses in float32. Sentences that the
    step does not look at are not encoded.

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
        """The loss of a batch and its parts by term, with every scale."""
        score = self.model.score
        films, cover = self.augment(batch.films, batch.cover, generator)
        held, index = held_sentences(score.sentence_aggregator.choose(batch.sentence_index))
        with self.autocast():
            images = self.model.encode_images(normalise(films, mean=self.mean, std=self.std), cover)
            sentences = self.model.encode_sentences(batch.tokens[held], batch.token_mask[held])
        loss = score.loss(
            images.regions,
            SentenceBag(sentences=sentences, index=index),
            pair_batch(batch.study, batch.text, same_group=self.same_group),
        )
        return Losses(
            total=loss.total,
            parts=loss.parts,
            readings=functools.partial(score.readings, images.regions.detach(), sentences.detach()),
        )
