"""Zero-shot classification: does a film score higher with sentences that affirm or with those that deny?"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from mmil_cli.config.prompts import Prompts
from mmil_cli.core.bags import RegionBag, Sentences, one_sentence_reports
from mmil_cli.inference import Embedder


class ZeroShot:
    """Scores `S(X, p) - S(X, q)`: p and q are the positive and the negative ensemble of a finding.

    An ensemble is the mean of the features of its sentences, normalised again, and stands for a report of
    one sentence in the model's own score. A score that reads words has nothing to average them by: there
    the ensemble is the mean of its sentences' scores.

    Args:
        embedder: runs the model.
        prompts: by finding; the order of the findings is that of the scores.
    """

    def __init__(self, embedder: Embedder, prompts: Mapping[str, Prompts]) -> None:
        self.embedder = embedder
        ensembles = [sentences for pair in prompts.values() for sentences in (pair.positive, pair.negative)]
        self.sizes = [len(sentences) for sentences in ensembles]
        sentences = embedder.sentences([sentence for ensemble in ensembles for sentence in ensemble])
        self.reads_words = sentences.words is not None
        self.reports = one_sentence_reports(
            sentences if self.reads_words else average_ensembles(sentences, self.sizes)
        )

    def scores(self, regions: RegionBag) -> np.ndarray:
        """Difference of logits of some films [B, findings]."""
        logits = self.embedder.logits(regions, self.reports)
        if self.reads_words:
            logits = torch.stack([part.mean(dim=1) for part in logits.split(self.sizes, dim=1)], dim=1)
        pairs = logits.unflatten(1, (-1, 2))  # [B, F, 2]
        return (pairs[..., 0] - pairs[..., 1]).numpy()


def average_ensembles(sentences: Sentences, sizes: Sequence[int]) -> Sentences:
    """The mean feature of each ensemble of sentences, normalised again."""
    means = torch.stack([part.mean(dim=0) for part in sentences.features.split(list(sizes))])
    return Sentences(features=F.normalize(means, dim=1))
