"""Zero-shot classification: does a film score higher with sentences that affirm or with those that deny?"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from mmil_cli.config.prompts import Prompts
from mmil_cli.core.bags import RegionBag, SentenceBag
from mmil_cli.inference import Embedder


class ZeroShot:
    """Scores `S(X, p) - S(X, q)`: p and q are the positive and the negative ensemble of a finding.

    An ensemble is the mean of the features of its sentences, normalised again, and stands for a report of
    one sentence in the model's own score.

    Args:
        embedder: runs the model.
        prompts: by finding; the order of the findings is that of the scores.
    """

    def __init__(self, embedder: Embedder, prompts: Mapping[str, Prompts]) -> None:
        self.embedder = embedder
        ensembles = [sentences for pair in prompts.values() for sentences in (pair.positive, pair.negative)]
        self.reports = ensemble_reports(embedder, ensembles)

    def scores(self, regions: RegionBag) -> np.ndarray:
        """Difference of logits of some films [B, findings]."""
        logits = self.embedder.logits(regions, self.reports).unflatten(1, (-1, 2))  # [B, F, 2]
        return (logits[..., 0] - logits[..., 1]).numpy()


def ensemble_reports(embedder: Embedder, ensembles: Sequence[Sequence[str]]) -> SentenceBag:
    """Each ensemble of sentences as a report of one sentence: their mean feature, normalised again."""
    means = [embedder.sentences(list(sentences)).mean(dim=0) for sentences in ensembles]
    features = F.normalize(torch.stack(means), dim=1)
    return SentenceBag(features=features, index=torch.arange(len(ensembles)).unsqueeze(1))
