"""Checks that every kind of picture file goes through."""

import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmil_cli.data.reasons import Reason, rejected

MAX_PIXELS = 100_000_000
"""More declared pixels are refused before anything is decoded: 10,000 x 10,000 is half a metre at 50 um."""

LEAST_CONTRAST = 1.0 / 255.0
"""A displayed film whose values span less than one grey level of the stored film is blank."""

HEAD_BYTES = 132
_LFS_POINTER = b"version https://git-lfs"


def read_head(path: Path) -> bytes:
    """The first bytes of a file, enough to tell its kind.

    Raises:
        RejectedRecord: there is no such file, it is empty, or Git LFS left a pointer in its place.
    """
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise rejected(Reason.UNREADABLE, path, "is no file but a pipe or a device")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError as fault:
        raise rejected(Reason.MISSING_FILE, path, "does not exist") from fault
    except IsADirectoryError as fault:
        raise rejected(Reason.UNREADABLE, path, "is a folder, not a file") from fault
    except OSError as fault:
        raise rejected(Reason.UNREADABLE, path, f"cannot be opened ({fault.strerror})") from fault
    except ValueError as fault:
        raise rejected(Reason.UNREADABLE, path, "has a null character in its name") from fault
    if not head:
        raise rejected(Reason.EMPTY_FILE, path, "is empty (0 bytes)")
    if head.startswith(_LFS_POINTER):
        raise rejected(
            Reason.LFS_POINTER, path, "is a Git LFS pointer, not the film; fetch it with `git lfs pull`"
        )
    return head


def refuse_large(path: Path, *, width: int, height: int) -> None:
    """Refuse a declared size no radiograph has, before memory is given to it."""
    if width * height > MAX_PIXELS:
        limit = f"at most {MAX_PIXELS // 1_000_000} million pixels are read"
        raise rejected(Reason.TOO_LARGE, path, f"declares {width} x {height} pixels; {limit}")


def refuse_blank(pixels: NDArray[np.float32], path: Path) -> None:
    """Refuse a displayed film, float32 [H, W], of one grey level.

    Every eighth row is looked at first: only a film that seems blank costs a second look.
    """
    if _contrast(pixels[::8]) < LEAST_CONTRAST and _contrast(pixels) < LEAST_CONTRAST:
        raise rejected(Reason.BLANK, path, "shows a single grey level as it would be displayed")


def _contrast(pixels: NDArray[np.float32]) -> float:
    return float(np.ptp(pixels)) if pixels.size else 0.0
