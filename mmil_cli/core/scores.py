"""A score between images and reports: a critic, and a sum of terms that pool its instance scores."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmil_cli.core.aggregators.instances import Instances, StreamedInstances
from mmil_cli.core.bags import RegionBag, SentenceBag, Sentences, Words
from mmil_cli.core.critics.critic import Critic
from mmil_cli.core.losses.objective import Loss
from mmil_cli.core.losses.pairing import Pairing
from mmil_cli.core.losses.reducer import Reducer
from mmil_cli.core.memory import chunk_numbers
from mmil_cli.core.scales import read_scales
from mmil_cli.core.sentences import SentenceAggregator
from mmil_cli.core.terms import Term, TermScores

SENTENCES_READ = 16  # of a batch, for the log and for calibration
NUMBERS_READ = 2**24  # held at most for them; a constant, so that calibration does not depend on free memory


class Score(nn.Module):
    """S(X, Y) between bags of regions and bags of sentences; the one score of training and evaluation.

    Each distinct sentence is scored once against each image (B x U). Terms that can be streamed never hold
    instance scores; the others work in chunks of images and sentences that are computed again in the backward
    pass, so that memory beyond the result is bounded by one chunk.

    Args:
        critic: instance score of every region with every sentence.
        terms: aggregators with their objectives, by name.
        sentence_aggregator: pools a report's sentence scores.
        chunk_elements: numbers to hold at once; None for what the free memory allows.
    """

    def __init__(
        self,
        *,
        critic: Critic,
        terms: dict[str, Term],
        sentence_aggregator: SentenceAggregator,
        chunk_elements: int | None = None,
    ) -> None:
        super().__init__()
        self.critic = critic
        self.terms = nn.ModuleDict(terms)
        self.sentence_aggregator = sentence_aggregator
        self.chunk_elements = chunk_elements

    @property
    def reads_words(self) -> bool:
        """Whether any term needs the words of sentences."""
        return any(term.aggregator.reads_words for _, term in self._terms())

    def forward(self, regions: RegionBag, reports: SentenceBag) -> dict[str, TermScores]:
        """Scores of every image with every report, a term at a time."""
        scores = {}
        for name, pooled in self.sentence_scores(regions, reports.sentences).items():
            scores[name] = TermScores(
                scores=self.sentence_aggregator(pooled, reports.index),
                logit_scale=self._term(name).logit_scale,
            )
        return scores

    def logits(self, regions: RegionBag, reports: SentenceBag) -> Float[Tensor, "image report"]:
        """The score to rank by: the weighted sum of the terms' logits, which is what training shaped."""
        return self.logits_and_terms(regions, reports)[0]

    def logits_and_terms(
        self, regions: RegionBag, reports: SentenceBag
    ) -> tuple[Float[Tensor, "image report"], dict[str, TermScores]]:
        """The score to rank by, and the terms it is the weighted sum of."""
        scores = self(regions, reports)
        weighted = torch.stack([term.weight * scores[name].logits for name, term in self._terms()])
        return weighted.sum(dim=0), scores

    def loss(self, regions: RegionBag, reports: SentenceBag, pairing: Pairing) -> Loss:
        """Each term's objective on its own logits, weighted and summed.

        While training, scales set to `auto` take a step of calibration first.
        """
        if self.training:
            self._calibrate(regions, reports.sentences, pairing.reducer)
        scores = self(regions, reports)
        total = torch.zeros((), device=reports.index.device)
        parts: dict[str, Tensor] = {}
        for name, term in self._terms():
            if self.training:
                term.calibrate_temperature(scores[name].scores.detach(), pairing.reducer)
            found = term.objective(term.logit_scale * scores[name].scores, pairing)
            total = total + term.weight * found.total
            parts |= {f"{name}/{part}": value for part, value in found.parts.items()}
        return Loss(total=total, parts=parts)

    @torch.no_grad()
    def readings(self, regions: RegionBag, sentences: Sentences) -> dict[str, Tensor]:
        """For the log: every scale and each term's effective number of regions, on a part of a batch."""
        instances = self._sample(regions, sentences)
        found = {
            f"{name}/{what}": value
            for name, term in self._terms()
            for what, value in term.readings(instances).items()
        }
        of_sentences = read_scales(self.sentence_aggregator)
        return found | {f"sentences/{what}": value for what, value in of_sentences.items()}

    @torch.no_grad()
    def chance_loss(self, pairing: Pairing) -> Float[Tensor, ""]:
        """What the loss is when all scores are equal to zero: when the model knows nothing."""
        nothing = torch.zeros(pairing.positive.shape, device=pairing.positive.device)
        was_training = self.training
        self.eval()
        losses = [term.weight * term.objective(nothing, pairing).total for _, term in self._terms()]
        self.train(was_training)
        return torch.stack(losses).sum()

    @torch.no_grad()
    def region_maps(self, regions: RegionBag, sentences: Sentences) -> Float[Tensor, "image region sentence"]:
        """How well each region alone fits each sentence, the mean over terms: what grounding shows."""
        instances = self._instances(regions, sentences)
        return torch.stack([term.aggregator.region_scores(instances) for _, term in self._terms()]).mean(
            dim=0
        )

    @torch.no_grad()
    def term_weights(self, instances: Instances) -> dict[str, Float[Tensor, "image region sentence"]]:
        """By term, how much each region counts in the score of each sentence (`Aggregator.weights`)."""
        return {name: term.aggregator.weights(instances) for name, term in self._terms()}

    def sentence_scores(
        self, regions: RegionBag, sentences: Sentences
    ) -> dict[str, Float[Tensor, "image sentence"]]:
        """g(X, y) of every term for every image and distinct sentence."""
        limit = self.chunk_elements or chunk_numbers(regions.features.device)
        streamed = {name for name, term in self._terms() if self._streams(term)}
        scores = {}
        if streamed:
            instances = self._streamed(regions, sentences, limit)
            scores = {name: self._term(name).aggregator(instances) for name in self.terms if name in streamed}
        rest = [name for name in self.terms if name not in streamed]
        if rest:
            scores |= self._in_chunks(rest, regions, sentences, limit)
        return {name: scores[name] for name in self.terms}

    def _in_chunks(
        self, names: list[str], regions: RegionBag, sentences: Sentences, limit: int
    ) -> dict[str, Tensor]:
        blocks = list(self._blocks(regions, sentences, limit))
        again = torch.is_grad_enabled() and sum(len(row) for row in blocks) > 1
        rows = []
        for row in blocks:
            parts = [self._pool(names, images, some, again=again) for images, some in row]
            rows.append([torch.cat(columns, dim=1) for columns in zip(*parts, strict=True)])
        return dict(zip(names, [torch.cat(blocks) for blocks in zip(*rows, strict=True)], strict=True))

    def _blocks(
        self, regions: RegionBag, sentences: Sentences, limit: int
    ) -> Iterator[list[tuple[RegionBag, Sentences]]]:
        """Rows of blocks of images and sentences that hold no more numbers than the limit, if they can.

        Few images with many sentences: work on an image alone, such as the first layer of a critic on all its
        regions, is done again for each block of sentences.
        """
        pairs, num_images = self._pairs(regions, sentences, limit), len(regions.features)
        sentences_at_once = max(1, min(pairs, len(sentences)))
        images_at_once = max(1, pairs // sentences_at_once)
        for first in range(0, max(1, num_images), images_at_once):
            images = regions[first : first + images_at_once]
            yield [
                (images, sentences[start : start + sentences_at_once])
                for start in range(0, max(1, len(sentences)), sentences_at_once)
            ]

    def _pairs(self, regions: RegionBag, sentences: Sentences, limit: int) -> int:
        """How many pairs of an image and a sentence hold no more numbers than the limit; at least 1."""
        numbers = regions.features.shape[1]
        if sentences.words is not None and self.reads_words:
            numbers *= max(1, sentences.words.mask.shape[1])
        return max(1, limit // max(1, numbers))

    def _pool(
        self, names: list[str], regions: RegionBag, sentences: Sentences, *, again: bool
    ) -> tuple[Tensor, ...]:
        """Scores of one block; computed again in the backward pass if asked for."""
        words = sentences.words
        inputs = (regions.features, sentences.features, None if words is None else words.features)

        def pool(features: Tensor, of_sentences: Tensor, of_words: Tensor | None) -> tuple[Tensor, ...]:
            instances = Instances(
                regions=features,
                mask=regions.mask,
                sentences=Sentences(
                    features=of_sentences,
                    words=None
                    if of_words is None or words is None
                    else Words(features=of_words, mask=words.mask),
                ),
                critic=self.critic,
            )
            return tuple(self._term(name).aggregator(instances) for name in names)

        return checkpoint(pool, *inputs, use_reentrant=False) if again else pool(*inputs)

    def _instances(self, regions: RegionBag, sentences: Sentences) -> Instances:
        return Instances(regions=regions.features, mask=regions.mask, sentences=sentences, critic=self.critic)

    def _streamed(self, regions: RegionBag, sentences: Sentences, limit: int) -> Instances:
        return StreamedInstances(
            regions=regions.features,
            mask=regions.mask,
            sentences=sentences,
            critic=self.critic,
            chunk_elements=limit,
        )

    @torch.no_grad()
    def _sample(self, regions: RegionBag, sentences: Sentences) -> Instances:
        """A few of the sentences, evenly spaced, with as many images as may be held at once."""
        step = max(1, len(sentences) // SENTENCES_READ)
        images_read = max(1, self._pairs(regions, sentences, NUMBERS_READ) // SENTENCES_READ)
        stride = -(-len(regions.features) // images_read) or 1
        return self._instances(regions[::stride], sentences[::step][:SENTENCES_READ])

    @torch.no_grad()
    def _calibrate(self, regions: RegionBag, sentences: Sentences, reducer: Reducer) -> None:
        terms = [term for _, term in self._terms() if term.calibrates]
        if terms:
            instances = self._sample(regions, sentences)
            for term in terms:
                term.calibrate(instances, reducer)

    def _streams(self, term: Term) -> bool:
        return self.critic.is_product and term.aggregator.streams

    def _terms(self) -> Iterator[tuple[str, Term]]:
        for name in self.terms:
            yield name, self._term(name)

    def _term(self, name: str) -> Term:
        term = self.terms[name]
        assert isinstance(term, Term)
        return term
