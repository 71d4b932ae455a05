"""Sentence aggregators: from the scores of single sentences to the score of a report.

To add one: a class of the shape of `SentenceAggregator`, registered below; its tests run by themselves
(tests/core/test_sentences.py).
"""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mmil_cli.core.scales import SOFTEST, Scale, ScaleLike


class SentenceAggregator(nn.Module):
    """S(X, Y) from the g(X, y_m) of a report's sentences; a report without sentences scores 0.

    Attributes:
        equation: for people.
        source: where it is from.
    """

    equation: ClassVar[str]
    source: ClassVar[str]

    def forward(
        self, scores: Float[Tensor, "image sentence"], index: Int[Tensor, "report slot"]
    ) -> Float[Tensor, "image report"]:
        """Scores of each image with each report; `index` as in `SentenceBag`."""
        raise NotImplementedError

    def choose(self, index: Int[Tensor, "report slot"]) -> Int[Tensor, "report chosen"]:
        """The sentences that a training step looks at, before they are encoded; here all."""
        return index


class SentenceMean(SentenceAggregator):
    """S(X, Y) = (1/M) sum_m g(X, y_m).

    Linear in g, hence one matrix product with the U x R table of shares: the B x R x M tensor of gathered
    scores is never made.
    """

    equation = "(1/M) sum_m g(X, y_m)"
    source = "default of LSE+NL [ours]"

    def forward(
        self, scores: Float[Tensor, "image sentence"], index: Int[Tensor, "report slot"]
    ) -> Float[Tensor, "image report"]:
        """Scores of each image with each report."""
        return torch.matmul(scores, self.shares(index, num_sentences=scores.shape[1], dtype=scores.dtype))

    def shares(
        self, index: Int[Tensor, "report slot"], *, num_sentences: int, dtype: torch.dtype
    ) -> Float[Tensor, "sentence report"]:
        """What part of each report each distinct sentence is; columns sum to 1 (to 0 for an empty report)."""
        real = index >= 0
        counts = torch.zeros(len(index), num_sentences + 1, dtype=dtype, device=index.device)
        counts.scatter_add_(1, torch.where(real, index, num_sentences), torch.ones_like(index, dtype=dtype))
        length = real.sum(dim=1, keepdim=True).clamp(min=1)
        return (counts[:, :num_sentences] / length).transpose(0, 1)  # the last column took the padding


class SentenceMax(SentenceAggregator):
    """S(X, Y) = max_m g(X, y_m): the report is as near as its best sentence."""

    equation = "max_m g(X, y_m)"
    source = "standard MIL on the side of the sentences"

    def forward(
        self, scores: Float[Tensor, "image sentence"], index: Int[Tensor, "report slot"]
    ) -> Float[Tensor, "image report"]:
        """Scores of each image with each report."""
        gathered, real = _gather(scores, index)
        return torch.where(real.any(dim=1), gathered.amax(dim=2), 0.0)


class SentenceLSE(SentenceAggregator):
    """S(X, Y) = (1/gamma) log( (1/M) sum_m exp(gamma g(X, y_m)) ): between mean and maximum.

    Args:
        gamma: sharpness, at least 0.01; a number or learned.
    """

    equation = "(1/gamma) log( (1/M) sum_m exp(gamma g(X, y_m)) )"
    source = "LSE on the side of the sentences [ours]"

    def __init__(self, *, gamma: ScaleLike = 5.0) -> None:
        super().__init__()
        self.gamma = Scale(gamma, name="sentence lse: gamma", default=5.0, lowest=SOFTEST, auto=False)

    def forward(
        self, scores: Float[Tensor, "image sentence"], index: Int[Tensor, "report slot"]
    ) -> Float[Tensor, "image report"]:
        """Scores of each image with each report."""
        gamma = self.gamma()
        gathered, real = _gather(gamma * scores, index)
        log_number = real.sum(dim=1).clamp(min=1).to(scores.dtype).log()
        log_mean = torch.where(real.any(dim=1), gathered.logsumexp(dim=2) - log_number, 0.0)
        return log_mean / gamma  # divided last: a masked value over a small gamma would overflow


class OneSentence(SentenceMean):
    """S(X, Y) = g(X, y_m), m drawn at random in every training step; the mean over m in evaluation.

    As local mutual information (arXiv 2103.04537) and ConVIRT (arXiv 2010.00747) train. The sentence is drawn
    before it is encoded, from torch's own random state, which the training loop seeds by the step.
    """

    equation = "g(X, y_m), one m drawn a step; the mean over m in evaluation"
    source = "local MI, arXiv 2103.04537; ConVIRT, arXiv 2010.00747"

    def choose(self, index: Int[Tensor, "report slot"]) -> Int[Tensor, "report chosen"]:
        """One sentence of each report, all equally likely; -1 for a report without any."""
        if not self.training or index.shape[1] == 0:
            return index
        lots = torch.rand(index.shape).to(index.device).masked_fill(index < 0, -1.0)
        return index.gather(1, lots.argmax(dim=1, keepdim=True))


def held_sentences(
    index: Int[Tensor, "report slot"],
) -> tuple[Int[Tensor, " held"], Int[Tensor, "report slot"]]:
    """The sentences that some reports hold, in order, and the index renumbered to them."""
    held, places = torch.unique(index[index >= 0], return_inverse=True)
    renumbered = torch.full_like(index, -1)
    renumbered[index >= 0] = places
    return held, renumbered


def _gather(
    scores: Float[Tensor, "image sentence"], index: Int[Tensor, "report slot"]
) -> tuple[Float[Tensor, "image report place"], Bool[Tensor, "report place"]]:
    """Each report's sentence scores, a lowest value where there is none, and where there is one."""
    real = index >= 0
    if scores.shape[1] == 0 or index.shape[1] == 0:  # nothing to gather from: one padded place a report
        empty = scores.new_zeros(scores.shape[0], index.shape[0], 1)
        return empty, torch.zeros(index.shape[0], 1, dtype=torch.bool, device=index.device)
    return scores[:, index.clamp(min=0)].masked_fill(~real, torch.finfo(scores.dtype).min / 2), real


SENTENCE_AGGREGATORS: dict[str, type[SentenceAggregator]] = {
    "mean": SentenceMean,
    "max": SentenceMax,
    "lse": SentenceLSE,
    "one": OneSentence,
}
