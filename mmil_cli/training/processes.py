"""The processes of one job, started by torchrun: who this one is, and what they tell each other.

Not DistributedDataParallel: our objective goes through both towers one after the other and back with
exchanges of its own on the way, and its gradients are to be summed (`core.distributed`). DDP takes their
mean, and only where a module is called as a whole.
"""

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from mmil_cli.data.batches import Part
from mmil_cli.errors import AlreadyTold, MmilError, UsageError
from mmil_cli.runtime import pick_device, place_in_job
from mmil_cli.training.stopping import SIGNALS

T = TypeVar("T")

SILENCE = timedelta(minutes=5)
"""A process that says nothing for so long within a step is lost; one that dies is missed at once."""
PATIENCE = timedelta(days=1)
"""For what the first process does alone, such as validation."""
BUCKET = 2**23  # gradients that travel together: 32 MiB of float32


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes that share a run; one, unless torchrun started more.

    Only the first reads and writes the run folder.

    Attributes:
        rank: number of this one, from 0.
        size: how many there are.
        device: of this one.
        patient: group for what may take long; on the CPU.
    """

    rank: int
    size: int
    device: torch.device
    patient: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def part(self, num_rows: int) -> Part:
        """The rows of each batch that this process has; numbers of rows differ by one at most.

        Raises:
            UsageError: there are fewer rows than processes.
        """
        if num_rows < self.size:
            raise UsageError(
                f"data.batch_size is {num_rows} films for all processes together, and torchrun started "
                f"{self.size}; raise it, or start at most {num_rows}"
            )
        first, last = (num_rows * rank // self.size for rank in (self.rank, self.rank + 1))
        return Part(first=first, last=last, num_rows=num_rows)

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process, where alone it is called."""
        if self.size == 1:
            return make()
        found = [make() if self.is_first else None]
        dist.broadcast_object_list(found, src=0, group=self.patient)
        return found[0]  # type: ignore[return-value]

    def meet(self) -> None:
        """Waits until all have come here."""
        self.from_first(lambda: None)

    def any_of(self, *wishes: bool) -> tuple[bool, ...]:
        """Which of some wishes any process has; the same in all."""
        if self.size == 1:
            return wishes
        told = torch.tensor([int(wish) for wish in wishes], device=self.device)
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return tuple(wish > 0 for wish in told.tolist())

    def share_weights(self, model: nn.Module) -> None:
        """Gives all processes the weights of the first: a seed may draw others on another processor."""
        for tensor in model.state_dict().values() if self.size > 1 else ():
            if isinstance(tensor, DTensor):  # a share, of what was alike when it was shared out
                continue
            shared = tensor.byte() if tensor.dtype == torch.bool else tensor  # not every backend takes bool
            shared = shared.contiguous()
            dist.broadcast(shared, src=0)
            tensor.copy_(shared)

    def sum_gradients(self, model: nn.Module) -> None:
        """Gives all processes the sum of their gradients; None where no process has one."""
        if self.size > 1:
            # What lies in shares was summed as it was shared out (`training.sharding`).
            trained = [p for p in model.parameters() if p.requires_grad and not isinstance(p, DTensor)]
            for bucket in _buckets(trained):
                _sum_bucket(bucket)


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    held = 0
    for parameter in parameters:
        if bucket and held + parameter.numel() > BUCKET:
            yield bucket
            bucket, held = [], 0
        bucket.append(parameter)
        held += parameter.numel()
    if bucket:
        yield bucket


def _sum_bucket(parameters: Sequence[nn.Parameter]) -> None:
    """One all-reduce of some gradients, with a number for each that says whether anybody has it."""
    grads = [parameter.grad for parameter in parameters]
    held = torch.tensor([float(grad is not None) for grad in grads], device=parameters[0].device)
    flat = [
        parameter.new_zeros(parameter.numel()) if grad is None else grad.flatten()
        for parameter, grad in zip(parameters, grads, strict=True)
    ]
    summed = torch.cat([*flat, held])
    dist.all_reduce(summed)
    *parts, held = summed.split([*(parameter.numel() for parameter in parameters), len(parameters)])
    for parameter, part, number in zip(parameters, parts, held.tolist(), strict=True):
        # In the layout of its parameter, which need not be the order of axes: fused optimisers rely on it.
        like = torch.empty_like(parameter, requires_grad=False)
        parameter.grad = like.copy_(part.view_as(parameter)) if number else None


@contextmanager
def processes_of_job(device: str) -> Iterator[Processes]:
    """The processes that torchrun started, met; or this one alone.

    Args:
        device: auto, cpu or cuda; each process of a machine takes a GPU of its own.

    Raises:
        AlreadyTold: what ended this process is told by another one, so that one message comes of it.
    """
    place = place_in_job()
    if place.size == 1:
        yield Processes(rank=0, size=1, device=pick_device(device))
        return
    own_device = _own_device(device, place.local_rank)
    store, _, _ = next(iter(dist.rendezvous("env://", timeout=SILENCE)))
    try:
        dist.init_process_group(
            "nccl" if own_device.type == "cuda" else "gloo",
            store=store,
            rank=place.rank,
            world_size=place.size,
            timeout=SILENCE,
        )
        patient = dist.new_group(backend="gloo", timeout=PATIENCE)
        assert isinstance(patient, dist.ProcessGroup)
        yield Processes(rank=place.rank, size=place.size, device=own_device, patient=patient)
    except (MmilError, OSError, MemoryError, RuntimeError, KeyboardInterrupt, SystemExit) as error:
        _tell_once(error, store, rank=place.rank, size=place.size)
    dist.destroy_process_group()  # not after an error: it might wait for one that is gone


def outlive_the_group(_worker: int) -> None:
    """Lets a process that reads data be ended by its owner alone, not with it.

    Ctrl-C and torchrun reach whole groups of processes; a reader that dies first makes torch write a
    traceback, and its owner cannot finish the step.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _own_device(name: str, local_rank: int) -> torch.device:
    device = pick_device(name)
    if device.type != "cuda":
        return device
    if device.index is not None:
        raise UsageError(f"with torchrun each process takes a GPU of its own; give --device cuda, not {name}")
    if local_rank >= torch.cuda.device_count():
        raise UsageError(
            f"torchrun started more processes than this machine has GPUs ({torch.cuda.device_count()}); "
            "start one a GPU with --nproc-per-node, or give --device cpu"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def _tell_once(error: BaseException, store: dist.Store, *, rank: int, size: int) -> NoReturn:
    """Raises what is to be told, in the process that comes first with it; the others end without a word.

    The store is held by torchrun, and outlives the process that failed.
    """
    if isinstance(error, RuntimeError) and not _is_of_connection(error):
        raise error  # a bug of ours, with its traceback
    try:
        is_first_to_tell = store.add("told", 1) == 1
    except RuntimeError:  # the store is gone as well
        is_first_to_tell = True
    if not is_first_to_tell:
        raise AlreadyTold("another process of the job has told it") from error
    if isinstance(error, RuntimeError | SystemExit):
        what = "was told to stop" if isinstance(error, SystemExit) else "has lost another process"
        raise MmilError(
            f"process {rank} of {size} {what}, so the job ends; what torchrun says below names the process "
            "that failed first. Give the same command again: it goes on from the last saved state"
        ) from error
    raise error


def _is_of_connection(error: RuntimeError) -> bool:
    """Whether an exchange between processes failed; gloo has no class of error of its own."""
    return isinstance(error, dist.DistError) or any(name in str(error).lower() for name in ("gloo", "nccl"))
