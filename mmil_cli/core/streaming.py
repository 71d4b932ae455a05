"""Pooling over regions without ever holding the B x N x U tensor of instance scores.

The functions walk over chunks of sentences with one buffer, keep only B x U numbers for the backward pass,
and compute each chunk's products again there: one matrix product more than holding everything, and no memory
that grows with B x N x U. They are for critics that are products, h(x, y) = <left(x), y>.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

GATHER_COPIES = 4  # of gathered vectors, held at once: this chunk's, the last one's, the product's own


def soft_maximum(
    left: Float[Tensor, "image region dim"],
    right: Float[Tensor, "sentence dim"],
    mask: Bool[Tensor, "image region"],
    gamma: Float[Tensor, ""],
    *,
    chunk_elements: int,
) -> tuple[Float[Tensor, "image sentence"], Int[Tensor, "image sentence"]]:
    """(1/gamma) log( (1/N) sum_n exp(gamma <x_n, y>) ), and which region has the highest score.

    Args:
        left: regions, as the critic's left side has them.
        right: sentences.
        mask: True where the region is real; of an image without any, the values mean nothing.
        gamma: sharpness, above 0; gets its gradient too.
        chunk_elements: instance scores to hold at once, at least one sentence's.
    """
    value, critical = _SoftMaximum.apply(left, right, mask, gamma, chunk_elements)
    return value, critical


def critical_region(
    left: Float[Tensor, "image region dim"],
    right: Float[Tensor, "sentence dim"],
    mask: Bool[Tensor, "image region"],
    *,
    chunk_elements: int,
) -> Int[Tensor, "image sentence"]:
    """argmax_n <x_n, y>, in chunks."""
    with torch.no_grad():
        found = [scores.max(dim=-1).indices for _, scores in _chunks(left, right, mask, chunk_elements)]
    return torch.cat(found).T if found else torch.zeros(len(left), 0, dtype=torch.long, device=left.device)


def picked_scores(
    vectors: Float[Tensor, "image region dim"],
    right: Float[Tensor, "sentence dim"],
    which: Int[Tensor, "image sentence"],
    *,
    chunk_elements: int,
) -> Float[Tensor, "image sentence"]:
    """<z_k, y> for the one vector k = which[b, u] of each image and sentence."""
    return _PickedScores.apply(vectors, right, which, chunk_elements)


def in_image_blocks(
    pool: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    regions: Float[Tensor, "image region dim"],
    mask: Bool[Tensor, "image region"],
    which: Int[Tensor, "image sentence"],
    sentences: Float[Tensor, "sentence dim"],
    *,
    parameters: Sequence[Tensor],
    size: int,
) -> Float[Tensor, "image sentence"]:
    """pool(regions, mask, which, sentences) of `size` images at a time, made again in the backward pass.

    What `torch.utils.checkpoint` would do block by block, but that all blocks write their gradients into one
    tensor.

    Args:
        pool: the images of a block do not depend on each other.
        regions: of all images, as `mask` and `which`.
        mask: True where the region is real.
        which: a region for each image and sentence.
        sentences: the same for every block.
        parameters: everything else that `pool` depends on and that may need a gradient.
        size: images of a block.
    """
    if len(regions) <= size:
        return pool(regions, mask, which, sentences)
    return _InImageBlocks.apply(pool, size, mask, which, regions, sentences, *parameters)


class _SoftMaximum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, left: Tensor, right: Tensor, mask: Tensor, gamma: Tensor, chunk_elements: int
    ) -> tuple[Tensor, Tensor]:
        num_sentences, num_images = right.shape[0], left.shape[0]
        value = left.new_empty(num_sentences, num_images)
        critical = torch.empty(num_sentences, num_images, dtype=torch.long, device=left.device)
        for rows, scores in _chunks(left, right * gamma, mask, chunk_elements):
            peak, critical[rows] = scores.max(dim=-1)
            value[rows] = scores.sub_(peak.unsqueeze(-1)).exp_().sum(dim=-1).log_().add_(peak)
        value = value - _count(mask, value).log()
        ctx.save_for_backward(left, right, mask, gamma, value)
        ctx.chunk_elements = chunk_elements
        ctx.mark_non_differentiable(critical)
        return (value / gamma).T, critical.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        left, right, mask, gamma, value = ctx.saved_tensors
        grad = grad.T.contiguous()  # [U, B]
        log_sum = value + _count(mask, value).log()
        flat = left.flatten(0, 1)
        of_left, of_right = torch.zeros_like(flat), torch.empty_like(right)
        of_gamma = -(grad * value).sum() / gamma.square()
        for rows, scores in _chunks(left, right * gamma, mask, ctx.chunk_elements):
            scaled = scores.clone() if ctx.needs_input_grad[3] else None
            shares = scores.sub_(log_sum[rows].unsqueeze(-1)).exp_().mul_(grad[rows].unsqueeze(-1))
            if scaled is not None:
                of_gamma = of_gamma + scaled.mul_(shares).sum() / gamma.square()
            shares = shares.flatten(1)  # [c, B N]
            torch.mm(shares, flat, out=of_right[rows])
            of_left.addmm_(shares.T, right[rows])
        return of_left.view_as(left), of_right, None, of_gamma, None


class _InImageBlocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pool: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
        size: int,
        mask: Tensor,
        which: Tensor,
        regions: Tensor,
        sentences: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.pool, ctx.size = pool, size
        ctx.save_for_backward(mask, which, regions, sentences, *parameters)
        blocks = zip(*(whole.split(size) for whole in (regions, mask, which)), strict=True)
        return torch.cat([pool(*block, sentences) for block in blocks])  # type: ignore[call-arg]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        mask, which, regions, sentences, *parameters = ctx.saved_tensors
        wanted = [parameter for parameter in parameters if parameter.requires_grad]
        of_regions, of_sentences = torch.empty_like(regions), torch.zeros_like(sentences)
        of_wanted = [torch.zeros_like(parameter) for parameter in wanted]
        for rows in _blocks(len(regions), ctx.size):
            with torch.enable_grad():
                images = regions[rows].detach().requires_grad_()
                shared = sentences.detach().requires_grad_()
                scores = ctx.pool(images, mask[rows], which[rows], shared)
            of_regions[rows], of_shared, *of_block = torch.autograd.grad(
                scores, (images, shared, *wanted), grad[rows], materialize_grads=True
            )
            of_sentences += of_shared
            for total, part in zip(of_wanted, of_block, strict=True):
                total += part
        found = iter(of_wanted)
        of_parameters = [next(found) if parameter.requires_grad else None for parameter in parameters]
        return None, None, None, None, of_regions, of_sentences, *of_parameters


class _PickedScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, right: Tensor, which: Tensor, chunk_elements: int) -> Tensor:
        num_images, num_regions, dim = vectors.shape
        places = which.T + num_regions * torch.arange(num_images, device=which.device)  # [U, B]
        flat = vectors.flatten(0, 1)
        value = right.new_empty(right.shape[0], num_images)
        for rows in _blocks(right.shape[0], chunk_elements // max(1, GATHER_COPIES * num_images * dim)):
            picked = F.embedding(places[rows], flat)  # [c, B, D]
            torch.bmm(picked, right[rows].unsqueeze(-1), out=value[rows].unsqueeze(-1))
        ctx.save_for_backward(vectors, right, places)
        return value.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        vectors, right, places = ctx.saved_tensors
        if not places.numel():  # embedding_bag refuses rows without entries
            return torch.zeros_like(vectors), torch.zeros_like(right), None, None
        weights = grad.T.contiguous()
        flat = vectors.flatten(0, 1)
        of_right = F.embedding_bag(places, flat, mode="sum", per_sample_weights=weights)
        return _gathered_back(weights, right, places, len(flat)).view_as(vectors), of_right, None, None


def _gathered_back(weights: Tensor, right: Tensor, places: Tensor, num_rows: int) -> Tensor:
    """Row r: the sum of weights[u, b] right[u] over the pairs that picked r, sorted by row and summed."""
    order = places.flatten().sort(stable=True).indices
    sentence = order.div(places.shape[1], rounding_mode="floor")
    counts = torch.bincount(places.flatten(), minlength=num_rows)
    starts = counts.cumsum(0) - counts
    return F.embedding_bag(sentence, right, starts, mode="sum", per_sample_weights=weights.flatten()[order])


def _chunks(left: Tensor, right: Tensor, mask: Tensor, chunk_elements: int) -> Iterator[tuple[slice, Tensor]]:
    """Rows of sentences and their products with every region [c, B, N]; one buffer, ours to write in."""
    flat = left.flatten(0, 1)
    padding = None if mask.all() else ~mask
    lowest = torch.finfo(left.dtype).min / 2  # twice this is still finite
    blocks = list(_blocks(len(right), chunk_elements // max(1, len(flat))))
    buffer = left.new_empty(max((rows.stop - rows.start for rows in blocks), default=0), len(flat))
    for rows in blocks:
        products = torch.mm(right[rows], flat.T, out=buffer[: rows.stop - rows.start])
        scores = products.view(len(products), *mask.shape)
        yield rows, scores if padding is None else scores.masked_fill_(padding, lowest)


def _blocks(total: int, size: int) -> Iterator[slice]:
    size = max(1, size)
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def _count(mask: Tensor, like: Tensor) -> Tensor:
    """Real regions of each image [B], at least 1."""
    return mask.sum(dim=1).clamp(min=1).to(like.dtype)
