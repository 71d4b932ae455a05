"""How much to hold at once."""

import os

import torch

SHARE = 1 / 32  # of the free memory, for one chunk; a chunk needs a few times its own size
MOST_ON_CPU = 2**20  # numbers: beyond the processor's caches a larger chunk is no faster
MOST_ON_GPU = 2**27
LEAST = 2**16
BYTES = 4


def chunk_numbers(device: torch.device) -> int:
    """Numbers in float32 that one chunk of work may hold on a device, by the memory free there now.

    On a CPU it is the same wherever there are 256 MiB to spare, so that sums over chunks are too.
    """
    most = MOST_ON_GPU if device.type == "cuda" else MOST_ON_CPU
    return min(most, max(LEAST, int(free_bytes(device) * SHARE / BYTES)))


def fits(num_bytes: int, device: torch.device, *, share: float) -> bool:
    """Whether so many bytes are no more than a share of the memory free on a device now."""
    return num_bytes <= share * free_bytes(device)


def free_bytes(device: torch.device) -> int:
    """Memory free on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
