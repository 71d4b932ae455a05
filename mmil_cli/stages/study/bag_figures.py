"""What cells of generated bags come to: figures of bags, of regions, and of what the score does with them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mmil_cli.core import properties
from mmil_cli.metrics.decisions import bin_of
from mmil_cli.metrics.grounding import pixel_auroc, pointing_hit
from mmil_cli.phantom.bags import Bags, BagSource
from mmil_cli.stages.study.bag_scorer import BATCH, BagScorer, Training, train_scorer
from mmil_cli.stages.study.figures import Figure, auroc_figure, mean_figure, resamples
from mmil_cli.stages.study.kinds import Metric

BEST, BEST_INVARIANT = "bayes", "bayes-invariant"
"""In place of a score: the best there is, and the best that does not know where regions lie."""

PROPERTY_BAGS = 100
EXTENT = 4
"""Regions that show the finding alike, where it is measured whether a score counts them."""

BAG_METRICS = {
    "bags/auroc": Metric(title="bag AUROC"),
    "bags/log_loss": Metric(title="cross-entropy, nats", higher_is_better=False),
    "bags/regret": Metric(title="cross-entropy beyond the best, nats", higher_is_better=False),
    "bags/ece": Metric(title="calibration error (ECE)", higher_is_better=False),
    "regions/auroc": Metric(title="region AUROC of the weights"),
    "regions/pointing": Metric(title="pointing game of the weights"),
    "regions/mass": Metric(title="weight on positive regions"),
    "regions/phrase_auroc": Metric(title="region AUROC of the phrase's map"),
}
PROPERTY_METRICS = {
    "property/effective_regions": Metric(title="regions listened to"),
    "property/monotonicity": Metric(title="upward slope, share"),
    "property/copies_matter": Metric(title="change by copies, SD"),
    "property/uses_correlation": Metric(title="change without likeness, SD"),
    "property/counts_extent": Metric(title="rise after the first region, share"),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of a cell, in their types.

    Attributes:
        source: where bags come from.
        training: of the score; its expression may be one of the best.
        test_bags: that it is tried on.
    """

    source: BagSource
    training: Training
    test_bags: int

    @property
    def is_best(self) -> bool:
        """Whether there is nothing to train."""
        return self.training.expression in (BEST, BEST_INVARIANT)


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """What was made of the bags that a score is tried on.

    Attributes:
        logits: of every bag [n]; NaN where they are not known.
        weights: how much each region of each positive bag counts [p, N].
        phrase_maps: how well it fits the phrase [p, N].
    """

    logits: np.ndarray
    weights: np.ndarray
    phrase_maps: np.ndarray


def figures(plan: Plan, *, seed: int) -> Iterator[Figure]:
    """Those of a cell: training, trial and properties follow from the seed, each from its own part of it."""
    bags = plan.source.sample(np.random.default_rng([seed, 1]), plan.test_bags)
    if plan.is_best:
        yield from _scored(plan.source, bags, _try_best(plan, bags), seed=seed)
        return
    scorer = train_scorer(plan.training, plan.source, seed=seed)
    yield from _scored(plan.source, bags, _try_scorer(scorer, bags), seed=seed)
    yield from _properties(scorer, plan.source, seed=seed)


def _try_scorer(scorer: BagScorer, bags: Bags) -> _Tried:
    regions = torch.from_numpy(bags.regions).float()
    with torch.no_grad():
        logits = torch.cat([scorer(some) for some in regions.split(BATCH)])
    positive = regions[torch.from_numpy(bags.labels)]
    return _Tried(
        logits=logits.double().numpy(),
        weights=scorer.weights(positive).double().numpy(),
        phrase_maps=scorer.phrase_maps(positive).double().numpy(),
    )


def _try_best(plan: Plan, bags: Bags) -> _Tried:
    source, positive = plan.source, bags.regions[bags.labels]
    if plan.training.expression == BEST:
        maps = source.region_posterior(positive)
        return _Tried(logits=source.log_ratio(bags.regions), weights=maps, phrase_maps=maps)
    if source.together > 0:  # no closed form
        unknown = np.full(positive.shape[:2], math.nan)
        return _Tried(logits=np.full(len(bags.labels), math.nan), weights=unknown, phrase_maps=unknown)
    maps = source.invariant_posterior(positive)
    return _Tried(logits=source.invariant_log_ratio(bags.regions), weights=maps, phrase_maps=maps)


def _scored(source: BagSource, bags: Bags, tried: _Tried, *, seed: int) -> Iterator[Figure]:
    """The figures of bags, and of the regions of positive ones."""
    if np.isnan(tried.logits).any():
        yield from (Figure(metric=name, value=math.nan) for name in BAG_METRICS)
        return
    ids = np.array([f"{seed}-{number}" for number in range(len(bags.labels))])
    labels = bags.labels.astype(np.float64)
    losses = _cross_entropy(labels, tried.logits)
    best = _cross_entropy(labels, source.log_ratio(bags.regions))
    yield auroc_figure("bags/auroc", labels, tried.logits, groups=ids)
    yield mean_figure("bags/log_loss", losses, groups=ids, chance=math.log(2))
    yield mean_figure("bags/regret", losses - best, groups=ids)
    yield _calibration_error(labels, tried.logits, groups=ids)
    shown, share = bags.shown[bags.labels], source.num_shown / source.num_regions
    for name, values, chance in (
        ("regions/auroc", _each(pixel_auroc, tried.weights, shown), 0.5),
        ("regions/pointing", _each(pointing_hit, tried.weights, shown), share),
        ("regions/mass", _mass(tried.weights, shown), share),
        ("regions/phrase_auroc", _each(pixel_auroc, tried.phrase_maps, shown), 0.5),
    ):
        yield mean_figure(name, values, groups=ids[bags.labels], among=ids, chance=chance)


def _each(
    measure: Callable[[np.ndarray, np.ndarray], float], maps: np.ndarray, shown: np.ndarray
) -> np.ndarray:
    return np.array([measure(values, mask) for values, mask in zip(maps, shown, strict=True)])


def _mass(weights: np.ndarray, shown: np.ndarray) -> np.ndarray:
    return (weights * shown).sum(axis=1) / weights.sum(axis=1)


def _cross_entropy(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """-log P(label) of each bag, in nats."""
    return np.logaddexp(0.0, np.where(labels == 1, -logits, logits))


def _calibration_error(labels: np.ndarray, logits: np.ndarray, *, groups: np.ndarray) -> Figure:
    """ECE = sum_b n_b / n |mean y - mean p| over ten bins of p of equal width, with its resamples."""
    probabilities = 1 / (1 + np.exp(-logits))
    bins = np.eye(10)[bin_of(probabilities)]
    gaps = bins * (labels - probabilities)[:, None]  # [n, bin]
    drawn = resamples(groups)
    errors = np.abs(drawn.weights.astype(np.float64) @ gaps).sum(axis=1) / drawn.weights.sum(axis=1)
    return Figure(
        metric="bags/ece",
        value=float(np.abs(gaps.sum(axis=0)).sum() / len(labels)),
        draws=errors,
        cases=drawn.cases,
        num_groups=drawn.num_groups,
    )


def _properties(scorer: BagScorer, source: BagSource, *, seed: int) -> Iterator[Figure]:
    """What the trained score does with regions, on bags of their own; no cases: they are of the score."""
    generator = np.random.default_rng([seed, 2])
    bags = source.sample(generator, PROPERTY_BAGS)
    regions, phrase = (torch.from_numpy(x).float() for x in (bags.regions, source.phrase))
    shuffle = torch.Generator().manual_seed(int(generator.integers(2**63)))
    absent = source.absent(generator, PROPERTY_BAGS)
    shown = source.positives(generator, PROPERTY_BAGS)[:, :1].repeat(EXTENT, axis=1)
    order = generator.random((PROPERTY_BAGS, source.num_regions)).argsort(axis=1)
    found = {
        "effective_regions": properties.effective_regions(scorer, regions),
        "monotonicity": properties.monotonicity(scorer, regions, phrase=phrase),
        "copies_matter": properties.copies_matter(scorer, regions),
        "uses_correlation": properties.uses_correlation(scorer, regions, phrase=phrase, generator=shuffle),
        "counts_extent": properties.counts_extent(
            scorer,
            torch.from_numpy(absent).float(),
            shown=torch.from_numpy(shown).float(),
            order=torch.from_numpy(order),
        ),
    }
    yield from (Figure(metric=f"property/{name}", value=float(value)) for name, value in found.items())
