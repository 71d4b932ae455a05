"""Sentences in groups of like length, so that little of what an encoder reads is padding."""

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

CALL_ON_CPU, CALL_ON_GPU = 256, 4096
"""What one more call of an encoder costs beside its tokens, in tokens: how rarely groups are worth it."""


def sentence_lengths(mask: Bool[Tensor, "sentence token"]) -> NDArray[np.int64]:
    """Places up to the last real token of each sentence [U], at least 1."""
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return (mask * places).amax(dim=1).clamp(min=1).cpu().numpy()


def length_groups(lengths: NDArray[np.int64], *, cost_of_call: int) -> list[NDArray[np.int64]]:
    """Places of the sentences, in groups of neighbouring lengths that are cheapest to encode one by one.

    A group costs its number of sentences times its longest, plus one call. The cheapest partition is found
    exactly, by dynamic programming over the distinct lengths.

    Args:
        lengths: in tokens.
        cost_of_call: in tokens.

    Returns:
        The groups, of shorter sentences first, each in the order of the sentences; none for no sentences.
    """
    distinct, counts = np.unique(lengths, return_counts=True)
    upto = np.concatenate([[0], counts.cumsum()])
    best, cut = np.zeros(len(distinct) + 1), np.zeros(len(distinct) + 1, np.int64)
    for end, longest in enumerate(distinct, start=1):
        costs = best[:end] + (upto[end] - upto[:end]) * longest + cost_of_call
        cut[end] = costs.argmin()
        best[end] = costs[cut[end]]
    return _between(lengths, distinct, cut)


def _between(
    lengths: NDArray[np.int64], distinct: NDArray[np.int64], cut: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    groups, end = [], len(distinct)
    while end:
        start = int(cut[end])
        groups.append(np.flatnonzero((lengths >= distinct[start]) & (lengths <= distinct[end - 1])))
        end = start
    return groups[::-1]
