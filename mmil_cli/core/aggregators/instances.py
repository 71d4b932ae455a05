"""What an aggregator may look at, and the masking that all of them share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mmil_cli.core.bags import Sentences, Words
from mmil_cli.core.critics.critic import Critic
from mmil_cli.core.streaming import critical_region, in_image_blocks, picked_scores, soft_maximum

NEIGHBOUR_COPIES = 4  # of an image's region-by-region table, forward and backward together
SMALL_CHUNKS = 4  # what is held without a second thought

VectorsOf = Callable[[Tensor, Tensor], Tensor]
"""Makes a vector for each region, of regions [image, region, dim] and their mask."""


@dataclass(frozen=True, kw_only=True)
class Instances:
    """Every pair of a region and a sentence, with what the pairs are made of.

    Attributes:
        regions: region features, L2-normalised.
        mask: True where the region is real.
        sentences: sentence features, and their words where an aggregator reads words.
        critic: the instance score.
    """

    regions: Float[Tensor, "image region dim"]
    mask: Bool[Tensor, "image region"]
    sentences: Sentences
    critic: Critic

    @cached_property
    def scores(self) -> Float[Tensor, "image region sentence"]:
        """h(x_n, y), computed once for all terms of a score."""
        return self.critic(self.regions, self.sentences.features)

    @property
    def words(self) -> Words:
        """Words of the sentences."""
        assert self.sentences.words is not None, "the score was not given the words it reads"
        return self.sentences.words

    @cached_property
    def word_scores(self) -> Float[Tensor, "image region sentence word"]:
        """h(x_n, w) of every region with every word, padding too."""
        words = self.words.features
        return self.critic(self.regions, words.flatten(0, 1)).unflatten(2, words.shape[:2])

    def soft_maximum(self, gamma: Float[Tensor, ""]) -> Float[Tensor, "image sentence"]:
        """(1/gamma) log( (1/N) sum_n exp(gamma h_n) ) over real regions; 0 where there is none."""
        scaled = fill_padding(gamma * self.scores, self.mask, lowest(self.scores))
        return zero_empty(scaled.logsumexp(dim=1) - count(self).log(), self.mask) / gamma

    def critical(self) -> Int[Tensor, "image sentence"]:
        """argmax_n h(x_n, y) over real regions.

        Scores that nobody has asked for yet are computed without a graph and not kept: who asks later wants
        gradients.
        """
        with torch.no_grad():
            known = vars(self).get("scores")
            scores = self.critic(self.regions, self.sentences.features) if known is None else known
            return fill_padding(scores, self.mask, lowest(scores)).argmax(dim=1)

    def average(self, vectors: Tensor | None = None) -> Float[Tensor, "image dim"]:
        """Mean over real regions of their features, or of other vectors of theirs; 0 where there is none."""
        total = torch.where(self.mask.unsqueeze(-1), self.regions if vectors is None else vectors, 0.0).sum(
            dim=1
        )
        return total / count(self)

    def score_vector(self, vectors: Float[Tensor, "image dim"]) -> Float[Tensor, "image sentence"]:
        """h(z, y) of one vector an image with every sentence."""
        return self.critic(vectors.unsqueeze(1), self.sentences.features)[:, 0]

    def score_picked(
        self, vectors: VectorsOf, which: Int[Tensor, "image sentence"], *, parameters: Iterable[Tensor] = ()
    ) -> Float[Tensor, "image sentence"]:
        """h(z_k, y) for the one vector k = which[b, u] of each image and sentence.

        Args:
            vectors: makes z [image, region, dim] of the regions and their mask, image by image.
            which: k.
            parameters: that `vectors` depends on.
        """
        del parameters  # autograd finds them by itself where nothing is computed again
        image = torch.arange(len(which), device=which.device).unsqueeze(1)
        picked = vectors(self.regions, self.mask)[image, which]
        return self.critic.aligned(picked, self.sentences.features)


@dataclass(frozen=True, kw_only=True)
class StreamedInstances(Instances):
    """The same for a critic that is a product, without ever holding all instance scores.

    Attributes:
        chunk_elements: instance scores to hold at once.
    """

    chunk_elements: int

    def soft_maximum(self, gamma: Float[Tensor, ""]) -> Float[Tensor, "image sentence"]:
        """As of `Instances`; one pass over the regions, which finds the critical ones too."""
        value, critical = soft_maximum(
            self._left,
            self.sentences.features,
            self.mask,
            gamma.to(self.regions.dtype),
            chunk_elements=self.chunk_elements,
        )
        vars(self)["_critical"] = critical
        return zero_empty(value, self.mask)

    def critical(self) -> Int[Tensor, "image sentence"]:
        """As of `Instances`."""
        return self._critical

    def score_picked(
        self, vectors: VectorsOf, which: Int[Tensor, "image sentence"], *, parameters: Iterable[Tensor] = ()
    ) -> Float[Tensor, "image sentence"]:
        """As of `Instances`; some images at a time, whose vectors are made again in the backward pass."""

        def pool(regions: Tensor, mask: Tensor, which: Tensor, sentences: Tensor) -> Tensor:
            left = self.critic.left(vectors(regions, mask))
            return picked_scores(left, sentences, which, chunk_elements=self.chunk_elements)

        return in_image_blocks(
            pool,
            self.regions,
            self.mask,
            which,
            self.sentences.features,
            parameters=[*parameters, *self.critic.parameters()],
            size=self._images_at_once(),
        )

    def _images_at_once(self) -> int:
        """All, where their region-by-region tables are small; else as many as fill a chunk."""
        num_images, num_regions, dim = self.regions.shape
        numbers = max(1, NEIGHBOUR_COPIES * num_regions * (num_regions + dim))
        if num_images * numbers <= SMALL_CHUNKS * self.chunk_elements:
            return max(1, num_images)
        return max(1, self.chunk_elements // numbers)

    @cached_property
    def _left(self) -> Tensor:
        return self.critic.left(self.regions)

    @cached_property
    def _critical(self) -> Tensor:
        return critical_region(
            self._left, self.sentences.features, self.mask, chunk_elements=self.chunk_elements
        )


def fill_padding(
    scores: Float[Tensor, "image region sentence"], mask: Bool[Tensor, "image region"], value: float
) -> Float[Tensor, "image region sentence"]:
    """Instance scores with `value` where the region is padding."""
    return scores.masked_fill(~mask.unsqueeze(-1), value)


def zero_empty(
    scores: Float[Tensor, "image sentence"], mask: Bool[Tensor, "image region"]
) -> Float[Tensor, "image sentence"]:
    """Scores with 0, the value of no evidence, where an image has no real region at all."""
    return torch.where(mask.any(dim=1, keepdim=True), scores, 0.0)


def softmax_over_regions(
    scores: Float[Tensor, "image region sentence"], mask: Bool[Tensor, "image region"]
) -> Float[Tensor, "image region sentence"]:
    """Weights that sum to 1 over real regions; 0 at padding, and all 0 in an image without regions."""
    weights = fill_padding(scores, mask, lowest(scores)).softmax(dim=1)
    return fill_padding(weights, mask, 0.0)


def uniform(instances: Instances) -> Float[Tensor, "image region sentence"]:
    """The same weight for each real region; 0 at padding."""
    share = instances.mask.to(instances.regions.dtype) / count(instances)
    return share.unsqueeze(-1).expand(-1, -1, len(instances.sentences))


def count(instances: Instances) -> Float[Tensor, "image 1"]:
    """Number of real regions of each image, at least 1 so that it may divide, in the features' dtype."""
    return instances.mask.sum(dim=1, keepdim=True).clamp(min=1).to(instances.regions.dtype)


def unit(vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Vectors divided by their length; a vector of zeros stays one, in half precision too."""
    shortest = max(1e-12, torch.finfo(vectors.dtype).tiny)  # float16 rounds 1e-12 to 0
    return F.normalize(vectors, dim=-1, eps=shortest)


def lowest(scores: Tensor) -> float:
    """A most negative value, finite and still finite when doubled: it never wins and never makes NaN."""
    return torch.finfo(scores.dtype).min / 2
