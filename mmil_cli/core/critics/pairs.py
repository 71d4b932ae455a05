"""The later layers of an MLP critic on all pairs, without holding what they compute for pairs."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmil_cli.core.memory import chunk_numbers, fits

KEPT_SHARE = 1 / 8  # of the free memory, for what is kept between forward and backward


def later_layers(
    of_region: Float[Tensor, "row hidden"],
    of_sentence: Float[Tensor, "sentence hidden"],
    second: tuple[Float[Tensor, "second hidden"], Float[Tensor, " second"]],
    last: tuple[Float[Tensor, "1 second"], Float[Tensor, " 1"]],
) -> Float[Tensor, "row sentence"]:
    """w3 relu(W2 relu(u + v) + b2) + b3 of every u with every v.

    Pairs are walked over in chunks. Of each pair nothing is kept but which units of the second layer are on,
    a byte each, while that fits into an eighth of the free memory; otherwise it is computed again. That is
    enough: with a = relu(u + v), m the units that are on, g the gradient and Q = sum g m a^T over pairs,
    dL/dW2 = w3 Q (row by row), and dL/dw3 = <W2, Q> (row by row) + b2 sum g m, for w3 sees m (W2 a + b2).

    Args:
        of_region: u = Wx x + b1.
        of_sentence: v = Wy y.
        second: W2 and b2.
        last: w3 and b3.
    """
    return _LaterLayers.apply(of_region, of_sentence, *second, *last)


class _LaterLayers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, u: Tensor, v: Tensor, weight: Tensor, bias: Tensor, last: Tensor, last_bias: Tensor
    ) -> Tensor:
        numbers = len(u) * len(v) * len(weight)
        ctx.keeps = any(ctx.needs_input_grad) and fits(numbers, u.device, share=KEPT_SHARE)
        kept = torch.empty(numbers if ctx.keeps else 0, dtype=torch.bool, device=u.device)
        value = u.new_empty(len(u), len(v))
        first_buffer, second_buffer = _buffers(u, v, weight)
        for rows in _blocks(u, v, weight):
            first = _first(u[rows], v, first_buffer)
            hidden = torch.addmm(bias, first, weight.T, out=second_buffer[: len(first)])
            if ctx.keeps:
                torch.gt(hidden, 0, out=_part(kept, rows, v, weight))
            torch.mv(hidden.relu_(), last[0], out=value[rows].view(-1))
        ctx.save_for_backward(u, v, weight, bias, last, kept)
        return value.add_(last_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        u, v, weight, bias, last, kept = ctx.saved_tensors
        grad, scaled = grad.contiguous(), last.T * weight
        of_u, of_v = torch.empty_like(u), torch.zeros_like(v)
        products, total = torch.zeros_like(weight), torch.zeros_like(bias)  # Q, and the sum of g m
        first_buffer, second_buffer = _buffers(u, v, weight)
        for rows in _blocks(u, v, weight):
            first = _first(u[rows], v, first_buffer)
            hidden = second_buffer[: len(first)]
            on = (
                _part(kept, rows, v, weight)
                if ctx.keeps
                else torch.addmm(bias, first, weight.T, out=hidden) > 0
            )
            slope = torch.mul(on, grad[rows].view(-1, 1), out=hidden)
            total += slope.sum(dim=0)
            products.addmm_(slope.T, first)
            of_first = (slope @ scaled).mul_(first.sign_()).view(-1, *v.shape)  # [c, U, hidden]
            torch.sum(of_first, dim=1, out=of_u[rows])
            of_v += of_first.sum(dim=0)
        of_last = (weight * products).sum(dim=1) + bias * total
        return of_u, of_v, last.T * products, last[0] * total, of_last.unsqueeze(0), grad.sum().view(1)


def _first(u: Tensor, v: Tensor, buffer: Tensor) -> Tensor:
    """relu(u + v) of some rows with every sentence [c U, hidden], written into the buffer."""
    out = buffer[: len(u) * len(v)]
    torch.add(u.unsqueeze(1), v, out=out.view(len(u), *v.shape))
    return out.relu_()


def _part(kept: Tensor, rows: slice, v: Tensor, weight: Tensor) -> Tensor:
    """What is kept of some rows [c U, second]."""
    width = len(v) * len(weight)
    return kept[rows.start * width : rows.stop * width].view(-1, len(weight))


def _buffers(u: Tensor, v: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    pairs = max((rows.stop - rows.start for rows in _blocks(u, v, weight)), default=0) * len(v)
    second, hidden = weight.shape
    return u.new_empty(pairs, hidden), u.new_empty(pairs, second)


def _blocks(u: Tensor, v: Tensor, weight: Tensor) -> Iterator[slice]:
    """Rows of u whose pairs fill one chunk."""
    numbers = len(v) * sum(weight.shape)
    size = max(1, chunk_numbers(u.device) // max(1, numbers))
    for start in range(0, len(u), size):
        yield slice(start, min(start + size, len(u)))
