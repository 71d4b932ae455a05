"""Why a record was left out: one code a reason, the same in `rejected.csv` and in every message."""

from enum import StrEnum
from pathlib import Path

from mmil_cli.errors import RejectedRecord


class Reason(StrEnum):
    """The closed set of reasons for which preprocess leaves a record out."""

    MISSING_FILE = "missing-file"
    EMPTY_FILE = "empty-file"
    LFS_POINTER = "lfs-pointer"
    UNREADABLE = "unreadable"
    NOT_AN_IMAGE = "not-an-image"
    NO_PIXELS = "no-pixels"
    MULTI_FRAME = "multi-frame"
    NOT_A_PICTURE = "not-a-picture"
    LOCALISER = "localiser"
    BURNED_IN = "burned-in-annotation"
    TRUNCATED = "truncated"
    UNSUPPORTED_SYNTAX = "unsupported-syntax"
    TOO_LARGE = "too-large"
    BLANK = "blank"


def rejected(reason: Reason, path: Path, fault: str) -> RejectedRecord:
    """The exception for one file: a sentence of its name and its fault, with nothing out of its header."""
    return RejectedRecord(reason, f"{path.name} {fault}")
