"""The encodings of stored films by name; imports nothing, so that a command line may list them.

PNG is the default. `mmil bench preprocess` reads 1,519 films/s of 256 px a core from PNG, 4,102 from JPEG and
57,088 from raw, at 23, 14 and 57 KiB a film. PNG is exact at two fifths of raw's size, and each reader adds a
core's rate; who has fewer cores than the model takes films stores raw, who lacks the disk JPEG.
"""

from enum import StrEnum


class Encoding(StrEnum):
    """How the pixels of a stored film are written."""

    RAW = "raw"
    PNG = "png"
    JPEG = "jpeg"
