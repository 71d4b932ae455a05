"""Properties of a score of bags that can be measured whatever its equation: what it does with regions."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

BagScore = Callable[[Tensor], Tensor]
"""Scores [image] of bags of unit vectors [image, region, dim]."""

Bag = Float[Tensor, "image region dim"]


def effective_regions(score: BagScore, regions: Bag) -> Float[Tensor, ""]:
    """How many regions a score listens to: e^H of its gradients' lengths, averaged over bags; 1 to N.

    H = -sum_n q_n log q_n with q_n = |dg/dx_n| / sum_m |dg/dx_m|. 1 for the maximum, N for the mean, whatever
    the aggregator calls its weights. Bags whose score has no slope do not count; NaN where none has.
    """
    lengths = _gradients(score, regions).norm(dim=-1)  # [B, N]
    total = lengths.sum(dim=1, keepdim=True)
    shares = (lengths / total)[total[:, 0] > 0]
    return torch.special.entr(shares).sum(dim=1).exp().mean()


def monotonicity(score: BagScore, regions: Bag, *, phrase: Float[Tensor, "dim"]) -> Float[Tensor, ""]:
    """How much of the slope towards the phrase is upward; 0 to 1, and 1 where no region ever counts against.

    sum_n max(0, s_n) / sum_n |s_n|, s_n = <dg/dx_n, y>, over all bags; NaN where there is no slope.
    """
    slopes = _gradients(score, regions) @ phrase
    return slopes.clamp(min=0).sum() / slopes.abs().sum()


@torch.no_grad()
def copies_matter(score: BagScore, regions: Bag) -> Float[Tensor, ""]:
    """How much a score changes when every region is there twice; 0 for one that only sees shares of regions.

    mean |g(X, X) - g(X)| over the standard deviation of g over the bags; NaN where g is a constant.
    """
    once = score(regions)
    return (score(torch.cat([regions, regions], dim=1)) - once).abs().mean() / _spread(once)


@torch.no_grad()
def uses_correlation(
    score: BagScore, regions: Bag, *, phrase: Float[Tensor, "dim"], generator: torch.Generator
) -> Float[Tensor, ""]:
    """How much a score depends on what regions have in common beyond the phrase; 0 for every local one.

    Each region is reflected at random in the hyperplanes through the phrase, which keeps its length and its
    cosine with the phrase and breaks its likeness to the others: mean |g(X') - g(X)| over the standard
    deviation of g over the bags; NaN where g is a constant.

    Args:
        score: g.
        regions: X.
        phrase: y, a unit vector.
        generator: of the reflections.
    """
    axes = torch.randn(regions.shape, generator=generator, dtype=regions.dtype)
    axes = F.normalize(axes - (axes @ phrase).unsqueeze(-1) * phrase, dim=-1)
    reflected = regions - 2 * (regions * axes).sum(dim=-1, keepdim=True) * axes
    before = score(regions)
    return (score(reflected) - before).abs().mean() / _spread(before)


@torch.no_grad()
def counts_extent(
    score: BagScore,
    regions: Bag,
    *,
    shown: Float[Tensor, "image shown dim"],
    order: Int[Tensor, "image region"],
) -> Float[Tensor, ""]:
    """The share of a score's rise that comes after the first positive region.

    0 for one that only detects, or somewhat less, because what the further ones replace may have counted.

    [g(k) - g(1)] / [g(k) - g(0)], g(j) being the mean score of bags in which the first j regions of an order
    show the finding. (k - 1) / k for the mean; NaN where the score does not rise.

    Args:
        score: g.
        regions: bags without the finding.
        shown: what replaces them, k a bag.
        order: the regions replaced.
    """
    rise = []
    for number in (0, 1, shown.shape[1]):
        places = order[:, :number, None].expand(-1, -1, regions.shape[2])
        rise.append(score(regions.scatter(1, places, shown[:, :number])).mean())
    none, one, many = rise
    return torch.where(many > none, (many - one) / (many - none), torch.nan)


def _gradients(score: BagScore, regions: Bag) -> Bag:
    leaves = regions.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(score(leaves).sum(), leaves)
    return found


def _spread(scores: Float[Tensor, "image"]) -> Float[Tensor, ""]:
    deviation = scores.std()
    return torch.where(deviation > 0, deviation, torch.nan)
