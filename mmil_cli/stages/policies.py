"""The choices of a probe by name; imports nothing, so that a command line may list them."""

from enum import StrEnum


class Method(StrEnum):
    """How a finding is read off."""

    LINEAR = "linear"
    ZERO_SHOT = "zero-shot"


class Uncertain(StrEnum):
    """What the label -1 (uncertain) counts as."""

    IGNORE = "ignore"
    POSITIVE = "positive"
    NEGATIVE = "negative"


class Missing(StrEnum):
    """What a blank label (not mentioned) counts as."""

    IGNORE = "ignore"
    NEGATIVE = "negative"
