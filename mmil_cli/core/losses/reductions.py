"""Sums, maxima and log-sum-exps over masked pairs, the same lines for one process and for many."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmil_cli.core.losses.reducer import Reducer


def count(mask: Bool[Tensor, "image report"], reducer: Reducer) -> Int[Tensor, ""]:
    """How many pairs of the job the mask holds."""
    return reducer.sum(mask.sum())


def pair_mean(
    values: Float[Tensor, "image report"], mask: Bool[Tensor, "image report"], reducer: Reducer
) -> Float[Tensor, ""]:
    """The mean over the masked pairs of the job; 0 if there are none."""
    return reducer.sum(torch.where(mask, values, 0.0).sum()) / count(mask, reducer).clamp(min=1)


def log_mean_exp(
    values: Float[Tensor, "image report"], mask: Bool[Tensor, "image report"], reducer: Reducer
) -> Float[Tensor, ""]:
    """log( (1/|mask|) sum e^x ) over the masked pairs of the job; the lowest number if there are none."""
    summed = log_sum_exp(values.reshape(1, -1), mask.reshape(1, -1), reducer)[0]
    return summed - count(mask, reducer).clamp(min=1).to(summed.dtype).log()


def log_sum_exp(
    values: Float[Tensor, "anchor other"], mask: Bool[Tensor, "anchor other"], reducer: Reducer
) -> Float[Tensor, " anchor"]:
    """log sum e^x over the masked others of each anchor, those of other processes included.

    The lowest finite number, with zero gradients, where there are none.
    """
    peak = reducer.max(largest(values, mask))  # a shift only, so it needs no gradient
    shifted = (values - peak[:, None]).masked_fill(~mask, -torch.inf)
    total = reducer.sum(shifted.exp().sum(dim=1))  # 0 where there is nothing to sum, else at least 1
    return torch.where(total == 0, 1.0, total).log() + peak


def largest(
    values: Float[Tensor, "anchor other"], mask: Bool[Tensor, "anchor other"]
) -> Float[Tensor, " anchor"]:
    """The largest masked value of each anchor, without gradient; the lowest number where there is none."""
    lowest = torch.finfo(values.dtype).min
    if values.shape[1] == 0:  # a process without images
        return values.new_full(values.shape[:1], lowest)
    return values.detach().masked_fill(~mask, lowest).amax(dim=1)
