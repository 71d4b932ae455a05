"""Sentence aggregators: from the scores of single sentences to the score of a report."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class SentenceMean(nn.Module):
    """S(X, Y) = (1/M) sum_m g(X, y_m); a report without sentences scores 0.

    Linear in g, hence one matrix product with the U x R table of shares: the B x R x M tensor of gathered
    scores is never made.
    """

    def forward(
        self, scores: Float[Tensor, "image sentence"], index: Int[Tensor, "report slot"]
    ) -> Float[Tensor, "image report"]:
        """Scores of each image with each report; `index` as in `SentenceBag`."""
        return torch.matmul(scores, self.shares(index, num_sentences=scores.shape[1]).to(scores.dtype))

    def shares(
        self, index: Int[Tensor, "report slot"], *, num_sentences: int
    ) -> Float[Tensor, "sentence report"]:
        """What part of each report each distinct sentence is; columns sum to 1 (to 0 for an empty report)."""
        real = index >= 0
        shares = torch.zeros(index.shape[0], num_sentences, device=index.device)
        shares.scatter_add_(1, index.clamp(min=0), real.float())
        return F.normalize(shares, p=1.0, dim=1).transpose(0, 1)


SENTENCE_AGGREGATORS: dict[str, type[nn.Module]] = {"mean": SentenceMean}
