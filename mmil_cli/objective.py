"""What pretraining minimises: each term's objective between the films and the reports of a batch."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional as F

from mmil_cli.core.bags import RegionBag, SentenceBag, Sentences, join_films, join_images
from mmil_cli.core.caching import encode_in_lots
from mmil_cli.core.distributed import AcrossProcesses, gather_reports, gather_rows, merge_sentences, pair_job
from mmil_cli.core.losses.pairing import Pairing, SameGroup, pair_batch
from mmil_cli.core.model import DualEncoder
from mmil_cli.core.sentences import held_sentences
from mmil_cli.data.batches import Batch, FilmPlaces, Part
from mmil_cli.data.transforms import Augment, normalise
from mmil_cli.training.loop import Losses


class ContrastiveObjective:
    """L = sum over terms t of weight_t objective_t(logit_scale_t S_t).

    For lse+nl that is the local plus the global loss (arXiv 2212.05561; this form is ours [ours]).
    The encoders run in the precision of `autocast`, the scores and losses in float32. Sentences that the
    step does not look at are not encoded.

    Where a batch is spread over processes, each encodes its own films and sentences, and each ends with the
    loss of the whole batch, as one process would (`core.distributed`). Augmentation, the choice of sentences
    and calibrated scales agree too. What cannot agree is what an encoder itself draws at random, such as
    dropout; the numbers of `readings` are of the films of this process.

    Args:
        model: both towers and the score.
        augment: random changes of the films.
        mean: subtracted from pixels in [0, 1].
        std: divides them then.
        same_group: what to make of same-study and same-text pairs.
        part: the rows of each batch that this process has.
        films_a_bag: films of a report at most.
        autocast: makes the context the encoders run in.
        num_lots: how many parts of this process's films and sentences are encoded one at a time, and once
            more in the backward pass, for batches beyond memory; 1 for all at once.
    """

    def __init__(
        self,
        model: DualEncoder,
        *,
        augment: Augment,
        mean: float,
        std: float,
        same_group: SameGroup,
        part: Part,
        films_a_bag: int = 1,
        autocast: Callable[[], AbstractContextManager[object]],
        num_lots: int = 1,
    ) -> None:
        self.model = model
        self.augment = augment
        self.mean = mean
        self.std = std
        self.same_group = same_group
        self.part = part
        self.films_a_bag = films_a_bag
        self.autocast = autocast
        self.num_lots = num_lots

    def __call__(self, batch: Batch, generator: torch.Generator) -> Losses:
        """The loss of a batch and its parts by term, with every scale."""
        score = self.model.score
        films, cover = self.augment(batch.films, batch.cover, generator, part=self._places(batch))
        held, index = held_sentences(self._choose(batch.sentence_index))
        with self.autocast():
            regions = join_films(self._regions(films, cover), batch.bag, num_bags=len(batch.study))
            sentences = self.model.encode_sentences(
                batch.tokens[held], batch.token_mask[held], num_lots=self.num_lots
            )
        reports, pairing = self._meet(SentenceBag(sentences=sentences, index=index), held, batch)
        loss = score.loss(regions, reports, pairing)
        return Losses(
            total=loss.total,
            parts=loss.parts,
            readings=functools.partial(self._readings, regions.detach(), reports.sentences.detach(), pairing),
        )

    @torch.no_grad()
    def _readings(self, regions: RegionBag, sentences: Sentences, pairing: Pairing) -> dict[str, Tensor]:
        """What the log wants beside the loss; only the first process reads, so nothing may be exchanged."""
        score = self.model.score
        known = regions.mask.unsqueeze(2)
        found = {
            **score.readings(regions, sentences),
            "image_spread": spread((regions.features * known).sum(dim=1)),
            "text_spread": spread(sentences.features),
        }
        return found | ({"chance_loss": score.chance_loss(pairing)} if self.part.is_whole else {})

    def _regions(self, films: Tensor, cover: Tensor) -> RegionBag:
        def encode(films: Tensor, cover: Tensor) -> RegionBag:
            return self.model.encode_images(normalise(films, mean=self.mean, std=self.std), cover).regions

        if self.num_lots == 1:
            return encode(films, cover)
        encoder = self.model.image_encoder
        return join_images(encode_in_lots(encode, films, cover, num_lots=self.num_lots, module=encoder))

    def _places(self, batch: Batch) -> Part | FilmPlaces:
        """Where the films lie in the batch of all processes, so that each is changed alike in any of them."""
        if self.films_a_bag == 1:
            return self.part
        rows = (self.part.first + batch.bag) * self.films_a_bag + batch.slot
        return FilmPlaces(rows=rows.cpu(), num_rows=self.part.num_rows * self.films_a_bag)

    def _choose(self, index: Tensor) -> Tensor:
        """The sentences that this step looks at; lots are drawn for the reports of the whole batch."""
        choose = self.model.score.sentence_aggregator.choose
        if self.part.is_whole:
            return choose(index)
        slots = int(AcrossProcesses().max(torch.tensor(index.shape[1], device=index.device)))
        whole = index.new_full((self.part.num_rows, slots), -1)
        whole[self.part.rows, : index.shape[1]] = index
        chosen = choose(whole)[self.part.rows]
        torch.manual_seed(torch.initial_seed() + self.part.first)  # or dropout would be alike in all
        return chosen

    def _meet(self, own: SentenceBag, held: Tensor, batch: Batch) -> tuple[SentenceBag, Pairing]:
        """The reports that the films of this process are scored with, and their roles."""
        if self.part.is_whole:
            return own, pair_batch(batch.study, batch.text, same_group=self.same_group)
        reports = merge_sentences(gather_reports(own), gather_rows(batch.sentence[held]))
        return reports, pair_job(batch.study, batch.text, same_group=self.same_group)


def spread(vectors: Tensor) -> Tensor:
    """1 - |mean of the unit vectors|^2 of [n, D]: 0 if all point one way, 1 if they cancel out."""
    return 1 - F.normalize(vectors, dim=1).mean(dim=0).square().sum()
