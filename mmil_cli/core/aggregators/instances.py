"""What an aggregator may look at, and the masking that all of them share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Critic = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Instances:
    """Every pair of a region and a sentence, with what the pairs were made of.

    Attributes:
        scores: instance scores h(x_n, y), computed once for all terms of a score.
        mask: True where the region is real.
        regions: region features, L2-normalised.
        sentences: sentence features, L2-normalised.
        critic: scores further vectors of the region space against the sentences.
    """

    scores: Float[Tensor, "image region sentence"]
    mask: Bool[Tensor, "image region"]
    regions: Float[Tensor, "image region dim"]
    sentences: Float[Tensor, "sentence dim"]
    critic: Critic


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


def count(instances: Instances) -> Float[Tensor, "image 1"]:
    """Number of real regions of each image, at least 1 so that it may divide, in the dtype of the scores."""
    return instances.mask.sum(dim=1, keepdim=True).clamp(min=1).to(instances.scores.dtype)


def lowest(scores: Tensor) -> float:
    """The most negative finite value of the dtype: a padding that never wins and never makes NaN."""
    return torch.finfo(scores.dtype).min
