"""The encodings of stored films by name; imports nothing, so that a command line may list them."""

from enum import StrEnum


class Encoding(StrEnum):
    """How the pixels of a stored film are written."""

    RAW = "raw"
    PNG = "png"
    JPEG = "jpeg"
