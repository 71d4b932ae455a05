"""One batch spread over the processes of torch.distributed, with the loss and gradients of one process.

Each process owns the rows of its own images against all reports of the job, so that every entry of the
matrix of scores is computed once. What travels is the features of sentences (`gather_reports`), two numbers
for each report (`pair_job`), and in the objective one number for each report at a time, such as a log-sum-exp
or its gradient (`AcrossProcesses`).

Every process holds the whole loss and propagates it back through its own rows. So the gradients of features
are complete, and the gradient of a parameter is the **sum** over processes of what each holds (not the mean
that DDP takes). For that, a parameter has to act before a sum over processes, as logit scales and biases do.

Every process has to take part in each call, forward and backward, one without images too. All need an
initialised process group (gloo for tensors on the CPU, NCCL on GPUs).
"""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from mmil_cli.core.bags import SentenceBag, Sentences, Words
from mmil_cli.core.losses.pairing import Pairing, SameGroup, pair_rows


class AcrossProcesses:
    """The reducer of a job: an all-reduce forward for `sum` and `max`, and one backward for `share`."""

    def sum(self, x: Tensor) -> Tensor:
        """The elementwise sum over processes, the same in all; its gradient passes unchanged."""
        return _Sum.apply(x)

    def share(self, x: Tensor) -> Tensor:
        """x, the same in all processes, for use with each one's rows; its gradient is summed over them."""
        return _Share.apply(x)

    def max(self, x: Tensor) -> Tensor:
        """The elementwise maximum over processes, the same in all; carries no gradient."""
        return _reduced(x.detach(), dist.ReduceOp.MAX)


def gather_rows(rows: Shaped[Tensor, "own *rest"]) -> Shaped[Tensor, "all *rest"]:
    """The rows of all processes, in the order of their ranks; numbers of rows may differ, none included.

    Differentiable: the gradient of a row is the sum over processes of what each found for it.
    """
    return _GatherRows.apply(rows)


def gather_reports(reports: SentenceBag) -> SentenceBag:
    """The reports of all processes, in the order of their ranks, with the features of their sentences.

    The report of local image b is at place b after those of lower ranks. Numbers of reports, sentences,
    slots and words may differ between processes. A sentence that several processes hold stays several rows,
    each with the features (and the dropout) of its process; `merge_sentences` makes one of them.
    """
    sentences, words = reports.sentences, reports.sentences.words
    num_words = 0 if words is None else words.features.shape[1]
    sizes = _gather_sizes([len(sentences), reports.index.shape[1], num_words], reports.index.device)
    first = int(sizes[: dist.get_rank(), 0].sum())
    slots, longest = int(sizes[:, 1].max()), int(sizes[:, 2].max())
    index = torch.where(reports.index >= 0, reports.index + first, -1)
    return SentenceBag(
        sentences=Sentences(
            features=gather_rows(sentences.features),
            words=None if words is None else _gather_words(words, longest=longest),
        ),
        index=gather_rows(F.pad(index, (0, slots - index.shape[1]), value=-1)),
    )


def merge_sentences(reports: SentenceBag, number: Int[Tensor, " sentence"]) -> SentenceBag:
    """The reports with each sentence once: of rows with equal numbers the first stays, in the old order.

    What processes hold in common is then scored once, and the table of sentences is that of one process.
    """
    distinct, place = torch.unique(number, return_inverse=True)
    rows = torch.arange(len(number), device=number.device)
    first = rows.new_full((len(distinct),), len(number)).scatter_reduce_(0, place, rows, "amin")
    kept = first.sort().values
    new_place = torch.searchsorted(kept, first)[place]
    index = F.pad(new_place, (0, 1), value=-1)[reports.index]  # -1 reads the last place
    return SentenceBag(sentences=reports.sentences[kept], index=index)


def pair_job(
    study: Int[Tensor, " image"], text: Int[Tensor, " image"], *, same_group: SameGroup = SameGroup.EXCLUDE
) -> Pairing:
    """The pairing of this process's images with all reports of the job; image b belongs to its own report b.

    Args:
        study: a number for the study of each row of this process. **Consistent over the job**: equal on
            any two processes exactly for the same study, so no numbering that starts anew in each batch.
        text: a number for the text of each row, consistent in the same way.
        same_group: as in `pair_batch`.
    """
    sizes = _gather_sizes([study.shape[0]], study.device)[:, 0]
    first = int(sizes[: dist.get_rank()].sum())
    return pair_rows(
        gather_rows(study),
        gather_rows(text),
        rows=slice(first, first + study.shape[0]),
        same_group=same_group,
        reducer=AcrossProcesses(),
    )


def _gather_words(words: Words, *, longest: int) -> Words:
    missing = longest - words.features.shape[1]
    return Words(
        features=gather_rows(F.pad(words.features, (0, 0, 0, missing))),
        mask=gather_rows(F.pad(words.mask, (0, missing)).byte()).bool(),  # not every backend takes bool
    )


def _gather_sizes(own: list[int], device: torch.device) -> Int[Tensor, "process size"]:
    """The sizes of each process, by rank."""
    sizes = torch.tensor(own, device=device)
    gathered = [torch.empty_like(sizes) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, sizes)
    return torch.stack(gathered).cpu()


def _reduced(x: Tensor, operation: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
    """all_reduce(x), leaving x as it is."""
    result = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(result, op=operation)
    return result


class _Sum(torch.autograd.Function):
    """all_reduce(x) forward, the identity backward."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return _reduced(x)

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        return grad


class _Share(torch.autograd.Function):
    """The identity forward, all_reduce(gradient) backward."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        return _reduced(grad)


class _GatherRows(torch.autograd.Function):
    """all_gather of uneven rows forward, all_reduce and the own part backward."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        sizes = _gather_sizes([rows.shape[0]], rows.device)[:, 0].tolist()
        first = sum(sizes[: dist.get_rank()])
        ctx.own = slice(first, first + rows.shape[0])
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])  # not every backend takes uneven parts
        padded[: rows.shape[0]] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        precise = torch.promote_types(grad.dtype, torch.float32)  # a sum of halves rounds at every process
        return _reduced(grad.to(precise))[ctx.own].to(grad.dtype)
