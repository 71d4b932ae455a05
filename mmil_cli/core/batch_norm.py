"""Batch norm over the images of all processes of torch.distributed, on CPUs too."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

PLACES = (0, 2, 3)


class JobBatchNorm2d(nn.BatchNorm2d):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, mean and variance over the images of all processes.

    What nn.BatchNorm2d gives for one batch of them all (Ioffe and Szegedy 2015, arXiv 1502.03167); numbers
    of images may differ. torch's SyncBatchNorm does the same but refuses tensors on the CPU. Processes
    exchange counts, means and variances, which are joined as by Chan et al. 1979: a difference of sums of
    squares would lose the digits that a large mean takes. Every process has to take part in each call while
    training, forward and backward; evaluation is that of nn.BatchNorm2d. The gradients of gamma and beta are
    those of the own images, to be summed over processes.
    """

    def forward(
        self, x: Float[Tensor, "image channel row column"]
    ) -> Float[Tensor, "image channel row column"]:
        """The normalised maps; while training, the running mean and variance follow those of the job."""
        if not self.training:
            return super().forward(x)
        y, mean, var, count = _JobNorm.apply(x, self.weight, self.bias, self.eps)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * count / (count - 1), self.momentum)
        return y


def across_processes(module: nn.Module) -> None:
    """Replaces every nn.BatchNorm2d in a module by one over all processes with the same parameters."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            setattr(module, name, _of_job(child))
        else:
            across_processes(child)


def _of_job(norm: nn.BatchNorm2d) -> JobBatchNorm2d:
    found = JobBatchNorm2d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    found.weight, found.bias = norm.weight, norm.bias
    found.running_mean, found.running_var = norm.running_mean, norm.running_var
    found.num_batches_tracked = norm.num_batches_tracked
    return found


class _JobNorm(torch.autograd.Function):
    """One exchange forward, of counts, means and variances, and one backward, of two sums a channel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        own_var, own_mean = torch.var_mean(precise, dim=PLACES, correction=0)
        own_count = torch.full_like(own_mean, x.numel() / x.shape[1])
        counts, means, variances = _gathered(torch.stack([own_count, own_mean, own_var]))
        count = counts.sum(dim=0)
        mean = (counts * means).sum(dim=0) / count
        var = (counts * (variances + (means - mean).square())).sum(dim=0) / count
        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt(), count)
        ctx.mark_non_differentiable(mean, var, count)
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps), mean, var, count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, scale, count = ctx.saved_tensors
        grad = grads[0].to(mean.dtype)
        normed = (x - _spread(mean)) * _spread(scale)
        own = torch.stack([grad.sum(dim=PLACES), (grad * normed).sum(dim=PLACES)])
        shared = own.clone()
        dist.all_reduce(shared)
        of_bias, of_weight = shared / count
        grad_x = (grad - _spread(of_bias) - normed * _spread(of_weight)) * _spread(scale * weight)
        return grad_x.to(x.dtype), own[1], own[0], None


def _gathered(own: Tensor) -> Tensor:
    """The [3, C] of every process as [3, processes, C]."""
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    return torch.stack(parts, dim=1)


def _spread(x: Tensor) -> Tensor:
    """[C] as [C, 1, 1]."""
    return x[:, None, None]
