"""Aggregators whose instances are pairs of a region and a word, and what they share."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mmil_cli.core.aggregators.aggregator import Aggregator, Level
from mmil_cli.core.aggregators.instances import Instances, lowest, unit
from mmil_cli.core.scales import SOFTEST, Scale, ScaleLike
from mmil_cli.errors import UsageError

POOLS = ("lse", "mean", "max")


def real_pairs(instances: Instances) -> Bool[Tensor, "image region sentence word"]:
    """True where both the region and the word are real."""
    return instances.mask[:, :, None, None] & instances.words.mask[None, None]


def mean_over_words(
    values: Float[Tensor, "*lead sentence word"], mask: Bool[Tensor, "sentence word"]
) -> Float[Tensor, "*lead sentence"]:
    """Mean over real words; 0 for a sentence without any."""
    total = values.masked_fill(~mask, 0.0).sum(dim=-1)
    return total / mask.sum(dim=-1).clamp(min=1).to(values.dtype)


def zero_without_pairs(
    scores: Float[Tensor, "image sentence"], instances: Instances
) -> Float[Tensor, "image sentence"]:
    """Scores with 0 where the image has no region or the sentence no word."""
    real = instances.mask.any(dim=1, keepdim=True) & instances.words.mask.any(dim=1)
    return torch.where(real, scores, 0.0)


class WordAggregator(Aggregator):
    """Shared by those that attend from each word to the regions."""

    reads_words = True
    keeps_one = False

    def attention(self, instances: Instances) -> Float[Tensor, "image region sentence word"]:
        """Weights over regions for each word; 0 at padding."""
        raise NotImplementedError

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """The attention of the sentence's words, averaged over them."""
        return mean_over_words(self.attention(instances), instances.words.mask)

    def region_scores(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """Mean over words of h(x_n, w)."""
        return mean_over_words(instances.word_scores, instances.words.mask)

    def contexts(self, instances: Instances) -> Float[Tensor, "image sentence word"]:
        """cos(c_w, w) of each word with its context c_w = sum_n attention_n x_n."""
        attention = self.attention(instances).to(instances.regions.dtype)  # a critic may be more precise
        context = torch.einsum("bnut,bnd->butd", attention, instances.regions)
        return instances.critic.aligned(
            unit(context).flatten(1, 2), instances.words.features.flatten(0, 1)
        ).unflatten(1, instances.words.mask.shape)


class WordAttention(WordAggregator):
    """g(X, Y) = log sum_w exp(gamma_words h(c_w, w)), c_w = sum_n a_nw x_n renormalised.

    a_w = softmax_n( gamma * softmax_w h(x_n, w) ), the inner softmax over the words of the sentence.

    The local score of GLoRIA (Huang et al. 2021, as its public code has it: gamma 4, gamma_words 5), with
    unit vectors where that code attends with features as they are, and tokens for words [ours]. It is not
    divided by gamma_words, nor by the number of words, so it is not bounded and long texts score higher.

    Args:
        gamma: sharpness over regions, >= 0.
        gamma_words: sharpness over words, at least 0.01; a number or learned.
    """

    level = Level.GLOBAL
    equation = "log sum_w exp(gamma_words h(c_w, w)), c_w = sum_n softmax_n(gamma softmax_w h(x_n, w)) x_n"
    source = "GLoRIA, Huang et al. 2021 (its code)"
    is_bounded = False

    def __init__(self, *, gamma: ScaleLike = 4.0, gamma_words: ScaleLike = 5.0) -> None:
        super().__init__()
        self.gamma = Scale(gamma, name="word-attention: gamma", default=4.0)
        self.gamma_words = Scale(
            gamma_words, name="word-attention: gamma_words", default=5.0, lowest=SOFTEST, auto=False
        )

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        scaled = self.gamma_words() * self.contexts(instances)
        scaled = scaled.masked_fill(~instances.words.mask, lowest(scaled))
        return zero_without_pairs(scaled.logsumexp(dim=-1), instances)

    def attention(self, instances: Instances) -> Float[Tensor, "image region sentence word"]:
        """a."""
        scores = instances.word_scores
        real = real_pairs(instances)
        over_words = scores.masked_fill(~real, lowest(scores)).softmax(dim=3)
        logits = (self.gamma() * over_words).masked_fill(~real, lowest(scores))
        return logits.softmax(dim=1).masked_fill(~real, 0.0)


class StackedAttention(WordAggregator):
    """g(X, Y) = pool_w h(c_w, w), c_w = sum_n a_nw x_n renormalised, a_w = softmax_n(gamma s_nw).

    s_nw = [h(x_n, w)]_+ / sqrt( sum_w' [h(x_n, w')]_+^2 ), the pool being a log-sum-exp over words
    (1/gamma_words) log sum_w exp(gamma_words .), their mean, or their maximum.

    Stacked cross-attention, text to image (SCAN, Lee et al. 2018, arXiv 1803.08024; gamma 9 and gamma_words
    6 there). The sum in its log-sum-exp is not divided by the number of words.

    Args:
        gamma: sharpness over regions, >= 0.
        pool: over words: lse, mean or max.
        gamma_words: sharpness of the log-sum-exp over words, at least 0.01; a number or learned; with
            `pool=lse` only.
    """

    level = Level.GLOBAL
    equation = (
        "pool_w h(c_w, w), c_w = sum_n softmax_n(gamma s_nw) x_n, s_nw = [h]+ / norm over words of [h]+"
    )
    source = "SCAN, Lee et al. 2018, arXiv 1803.08024"
    is_bounded = False

    def __init__(self, *, gamma: ScaleLike = 9.0, pool: str = "lse", gamma_words: ScaleLike = 6.0) -> None:
        super().__init__()
        if pool not in POOLS:
            raise UsageError(f"stacked-attention: pool must be {', '.join(POOLS)}, not {pool!r}")
        if pool != "lse" and gamma_words != 6.0:
            raise UsageError(f"stacked-attention: gamma_words does nothing with pool={pool}; leave it out")
        self.pool = pool
        self.gamma = Scale(gamma, name="stacked-attention: gamma", default=9.0)
        if pool == "lse":
            self.gamma_words = Scale(
                gamma_words, name="stacked-attention: gamma_words", default=6.0, lowest=SOFTEST, auto=False
            )

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        contexts, mask = self.contexts(instances), instances.words.mask
        if self.pool == "mean":
            return zero_without_pairs(mean_over_words(contexts, mask), instances)
        if self.pool == "max":
            best = contexts.masked_fill(~mask, lowest(contexts)).amax(dim=-1)
            return zero_without_pairs(best, instances)
        sharpness = self.gamma_words()
        scaled = (sharpness * contexts).masked_fill(~mask, lowest(contexts))
        return zero_without_pairs(scaled.logsumexp(dim=-1), instances) / sharpness

    def attention(self, instances: Instances) -> Float[Tensor, "image region sentence word"]:
        """a."""
        real = real_pairs(instances)
        positive = F.relu(instances.word_scores).masked_fill(~real, 0.0)
        logits = self.gamma() * unit(positive)  # over the words
        return logits.masked_fill(~real, lowest(logits)).softmax(dim=1).masked_fill(~real, 0.0)


class WordMax(WordAggregator):
    """g(X, Y) = mean_w max_n h(x_n, w): each word looks for its region.

    The text-to-image score of FILIP (Yao et al. 2021, arXiv 2111.07783).
    """

    level = Level.LOCAL
    equation = "mean_w max_n h(x_n, w)"
    source = "FILIP, Yao et al. 2021, arXiv 2111.07783"

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        scores = instances.word_scores
        best = scores.masked_fill(~real_pairs(instances), lowest(scores)).amax(dim=1)  # [B, U, T]
        return zero_without_pairs(mean_over_words(best, instances.words.mask), instances)

    def attention(self, instances: Instances) -> Float[Tensor, "image region sentence word"]:
        """1 for the region that the word finds."""
        scores, real = instances.word_scores, real_pairs(instances)
        best = scores.masked_fill(~real, lowest(scores)).argmax(dim=1, keepdim=True)
        return torch.zeros_like(scores).scatter_(1, best, 1.0).masked_fill(~real, 0.0)


class RegionMax(WordAggregator):
    """g(X, Y) = mean_n max_w h(x_n, w): each region looks for its word.

    The image-to-text score of FILIP (Yao et al. 2021, arXiv 2111.07783).
    """

    level = Level.LOCAL
    equation = "mean_n max_w h(x_n, w)"
    source = "FILIP, Yao et al. 2021, arXiv 2111.07783"

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence."""
        scores = instances.word_scores
        best = scores.masked_fill(~real_pairs(instances), lowest(scores)).amax(dim=3)  # [B, N, U]
        regions = instances.mask.unsqueeze(-1)
        total = best.masked_fill(~regions, 0.0).sum(dim=1)
        return zero_without_pairs(total / regions.sum(dim=1).clamp(min=1).to(total.dtype), instances)

    def attention(self, instances: Instances) -> Float[Tensor, "image region sentence word"]:
        """The same for every real region."""
        real = real_pairs(instances).to(instances.regions.dtype)
        return real / real.sum(dim=1, keepdim=True).clamp(min=1)
