"""A score of `mmil pretrain` trained on generated bags: does the bag show what the phrase says?"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmil_cli.core.aggregators.instances import Instances
from mmil_cli.core.bags import RegionBag, Sentences, Words, one_sentence_reports
from mmil_cli.core.build_score import build_score
from mmil_cli.core.terms import Term
from mmil_cli.phantom.bags import Bags, BagSource

OTHER_WORDS = 3
"""Words of the phrase that say nothing, such as `there is a`; the first word is the finding."""

BATCH = 128
LEARNING_RATE = 0.02


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a scorer is trained.

    Attributes:
        expression: score, as `mmil pretrain --score` takes it.
        critic: instance score.
        phrase: known, or learned, with its words, from the labels of bags alone and a random start.
        bags: to learn from.
        steps: of 128 bags.
    """

    expression: str
    critic: str
    phrase: str
    bags: int
    steps: int


class BagScorer(nn.Module):
    """P(the bag shows it) = sigmoid( e^a (S(X, y) - m) / s + b ), S the sum of the terms' logits of a score.

    m and s are mean and standard deviation of S over the training bags before the first step, so that every
    score starts with logits of the same size; a and b are learned.

    Args:
        training: what to build.
        source: where the bags come from.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, training: Training, source: BagSource) -> None:
        super().__init__()
        self.grid = (source.grid, source.grid)
        self.score = build_score(training.expression, dim=source.dim, critic=training.critic)
        self.log_slope = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))
        is_known = training.phrase == "known"
        phrase = torch.from_numpy(source.phrase).float() if is_known else torch.randn(source.dim)
        self.phrase = nn.Parameter(phrase, requires_grad=not is_known)
        self.others = nn.Parameter(torch.randn(OTHER_WORDS, source.dim), requires_grad=not is_known)

    def forward(self, regions: Tensor) -> Tensor:
        """Logits [n] of bags [n, N, D]."""
        return self.log_slope.exp() * (self.raw(regions) - self.mean) / self.deviation + self.bias

    def raw(self, regions: Tensor) -> Tensor:
        """S(X, y) of bags [n, N, D]."""
        reports = one_sentence_reports(self.sentences())
        return self.score.logits(self.bag(regions), reports)[:, 0]

    @torch.no_grad()
    def standardise(self, regions: Tensor) -> None:
        """Takes m and s from bags."""
        raw = self.raw(regions)
        self.mean.copy_(raw.mean())
        self.deviation.copy_(raw.std().clamp(min=1e-6))

    def bag(self, regions: Tensor) -> RegionBag:
        """Regions as images without padding."""
        mask = torch.ones(regions.shape[:2], dtype=torch.bool)
        return RegionBag(features=regions, mask=mask, grid=self.grid)

    def sentences(self) -> Sentences:
        """The phrase, and its words."""
        phrase = F.normalize(self.phrase, dim=-1)[None]
        words = torch.cat([phrase, F.normalize(self.others, dim=-1)])[None]
        mask = torch.ones(words.shape[:2], dtype=torch.bool)
        return Sentences(features=phrase, words=Words(features=words, mask=mask))

    def instances(self, regions: Tensor) -> Instances:
        """What aggregators look at."""
        bag = self.bag(regions)
        return Instances(
            regions=bag.features, mask=bag.mask, sentences=self.sentences(), critic=self.score.critic
        )

    def terms(self) -> list[Term]:
        """Of the score."""
        return [term for term in self.score.terms.values() if isinstance(term, Term)]

    @torch.no_grad()
    def weights(self, regions: Tensor) -> Tensor:
        """How much each region counts [n, N], the mean over terms."""
        parts = self.score.term_weights(self.instances(regions)).values()
        return torch.stack(list(parts)).mean(dim=0)[..., 0]

    @torch.no_grad()
    def phrase_maps(self, regions: Tensor) -> Tensor:
        """How well each region alone fits the phrase [n, N]: the map that `mmil ground` shows."""
        return self.score.region_maps(self.bag(regions), self.sentences())[..., 0]


def train_scorer(training: Training, source: BagSource, *, seed: int) -> BagScorer:
    """The scorer after so many steps of Adam on the cross-entropy of the labels it is told.

    Bags and weights depend on the seed alone: all scores of a seed learn from the same bags, in one order.
    """
    generator = np.random.default_rng([seed, 0])
    bags = source.sample(generator, training.bags)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**63)))
        scorer = BagScorer(training, source)
    _fit(scorer, bags, steps=training.steps, generator=generator)
    return scorer.eval()


def _fit(scorer: BagScorer, bags: Bags, *, steps: int, generator: np.random.Generator) -> None:
    regions, told = torch.from_numpy(bags.regions).float(), torch.from_numpy(bags.told).float()
    scorer.standardise(regions)
    learned = [parameter for parameter in scorer.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(learned, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        chosen = torch.from_numpy(generator.permutation(len(told))[:BATCH])
        _calibrate(scorer, regions[chosen])
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(scorer(regions[chosen]), told[chosen]).backward()
        optimiser.step()
        schedule.step()


@torch.no_grad()
def _calibrate(scorer: BagScorer, regions: Tensor) -> None:
    """A step of the scales that are `auto`."""
    for term in scorer.terms():
        if term.calibrates:
            term.calibrate(scorer.instances(regions))
