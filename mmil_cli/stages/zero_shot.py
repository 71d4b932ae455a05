"""Zero-shot classification: does a film score higher with sentences that affirm or with those that deny?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch.nn import functional as F

from mmil_cli.config.prompts import Prompts
from mmil_cli.core.bags import RegionBag, Sentences, one_sentence_reports
from mmil_cli.inference import Embedder
from mmil_cli.metrics.classification import auroc


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
        self.prompts = dict(prompts)
        ensembles = [sentences for pair in prompts.values() for sentences in (pair.positive, pair.negative)]
        self.sizes = [len(sentences) for sentences in ensembles]
        sentences = embedder.sentences([sentence for ensemble in ensembles for sentence in ensemble])
        self.reads_words = sentences.words is not None
        self.single = one_sentence_reports(sentences)
        self.reports = (
            self.single
            if self.reads_words
            else one_sentence_reports(average_ensembles(sentences, self.sizes))
        )

    def logits(self, regions: RegionBag) -> np.ndarray:
        """Logits of some films with the two ensembles of each finding [B, findings, 2]."""
        logits = self.embedder.logits(regions, self.reports)
        if self.reads_words:
            logits = torch.stack([part.mean(dim=1) for part in logits.split(self.sizes, dim=1)], dim=1)
        return logits.unflatten(1, (-1, 2)).numpy()

    def scores(self, regions: RegionBag) -> np.ndarray:
        """Difference of logits of some films [B, findings]."""
        return affirmed(self.logits(regions))

    def single_scores(self, regions: RegionBag) -> np.ndarray:
        """Logits of some films with every single prompt, positive ones of a finding first [B, prompts]."""
        return self.embedder.logits(regions, self.single).numpy()


def affirmed(logits: np.ndarray) -> np.ndarray:
    """How much higher films score with the positive ensemble than with the negative one [B, findings]."""
    return logits[..., 0] - logits[..., 1]


@dataclass(frozen=True, kw_only=True)
class PromptSpread:
    """What single prompts come to: the AUROC of each pair of a positive and a negative one.

    Attributes:
        num_pairs: of prompts.
        low, median, high: of the AUROCs.
        worst, best: the pairs of the lowest and of the highest one.
    """

    num_pairs: int
    low: float
    median: float
    high: float
    worst: tuple[str, str]
    best: tuple[str, str]


def prompt_spread(labels: np.ndarray, logits: np.ndarray, prompts: Prompts) -> PromptSpread:
    """The spread of a finding over its single prompts; NaN where the labels have one class.

    Args:
        labels: 0, 1 or NaN [n].
        logits: of the films with each positive and then each negative prompt [n, prompts].
        prompts: of the finding.
    """
    pairs = list(product(range(len(prompts.positive)), range(len(prompts.negative))))
    negatives = logits[:, len(prompts.positive) :]
    areas = np.array([auroc(labels, logits[:, p] - negatives[:, q]) for p, q in pairs])
    named = [(prompts.positive[p], prompts.negative[q]) for p, q in pairs]
    undefined = np.isnan(areas).any()
    return PromptSpread(
        num_pairs=len(pairs),
        low=float(areas.min()),
        median=float(np.median(areas)),
        high=float(areas.max()),
        worst=named[0 if undefined else int(areas.argmin())],
        best=named[0 if undefined else int(areas.argmax())],
    )


def average_ensembles(sentences: Sentences, sizes: Sequence[int]) -> Sentences:
    """The mean feature of each ensemble of sentences, normalised again."""
    means = torch.stack([part.mean(dim=0) for part in sentences.features.split(list(sizes))])
    return Sentences(features=F.normalize(means, dim=1))
