"""The machine: device, precision, threads, and the versions that a result depends on."""

import functools
import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from threadpoolctl import ThreadpoolController

from mmil_cli.errors import UsageError

if TYPE_CHECKING:  # torch takes seconds to import, and commands such as preprocess never need it
    import torch


TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun writes into the environment of each process."""


def pick_device(name: str = "auto") -> "torch.device":
    """The device to run on: `auto` takes CUDA where it works, else the CPU.

    Raises:
        UsageError: the named device does not exist here.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise _no_device(name) from error
    if device.type not in ("cpu", "cuda"):  # torch has others, such as meta, that nothing here was tried on
        raise _no_device(name)
    return device


def _no_device(name: str) -> UsageError:
    return UsageError(f"no device {name!r} on this machine; use auto, cpu or cuda")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Lets numpy and scipy multiply with one thread each, where a product is small and is made often.

    Their threads, and those of torch, wait for work by spinning: on two cores they take the cores from each
    other, and what takes a millisecond takes ten.
    """
    with _blas().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _blas() -> ThreadpoolController:
    """Of numpy and of scipy, which load a library each; to find them takes longer than a small product."""
    importlib.import_module("scipy.linalg")  # loads scipy's, which would be missed later
    return ThreadpoolController()


@dataclass(frozen=True, kw_only=True)
class PlaceInJob:
    """Which of the processes of a job this one is.

    Attributes:
        rank: its number in the job, from 0.
        size: how many processes there are.
        local_rank: its number on this machine, from 0.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0


def place_in_job() -> PlaceInJob:
    """What torchrun has written into the environment; without it, the only process.

    Raises:
        UsageError: part of it is missing.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return PlaceInJob()
    missing = [name for name in TORCHRUN if name not in os.environ]
    if missing:
        raise UsageError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set; start several "
            "processes with torchrun, or unset WORLD_SIZE"
        )
    rank, size, local_rank = (int(os.environ[name]) for name in TORCHRUN[:3])
    return PlaceInJob(rank=rank, size=size, local_rank=local_rank)


def has_fast_bfloat16(device: "torch.device") -> bool:
    """Whether bf16 is faster than fp32 there: any recent GPU, or a CPU with AMX or AVX-512 BF16."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def autocast(device: "torch.device", precision: str) -> "AbstractContextManager[object]":
    """Runs encoders in the precision of the recipe: fp32, bf16, or auto."""
    import torch

    enabled = precision == "bf16" or (precision == "auto" and has_fast_bfloat16(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def processor(device: "torch.device") -> str:
    """The name of what computes, for figures that depend on it."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """What a result may depend on, without anything that names the machine."""
    packages = ("mmil", "torch", "torchvision", "numpy", "tokenizers", "transformers")
    found = {name: metadata.version(name) for name in packages if _is_installed(name)}
    return {"python": platform.python_version(), "platform": sys.platform, **found}


def commit() -> str | None:
    """The commit of the checkout that runs, or None where mmil was installed from a package."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None
    result = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or None


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
