"""The choices of a probe by name; imports nothing, so that a command line may list them."""

from enum import StrEnum


class Method(StrEnum):
    """How a finding is read off.

    Frozen: `linear`, `knn`, `attention` (over regions), `zero-shot` (from prompts), and the control `initial`
    (linear, on the encoder as it was before pretraining). Trained on the labels: `finetune`, from the
    pretrained encoder, and `supervised`, from the one before pretraining.
    """

    LINEAR = "linear"
    ZERO_SHOT = "zero-shot"
    KNN = "knn"
    ATTENTION = "attention"
    FINETUNE = "finetune"
    SUPERVISED = "supervised"
    INITIAL = "initial"


DEFAULT_METHODS = (Method.LINEAR, Method.ZERO_SHOT)
TRAINED = (Method.ATTENTION, Method.FINETUNE, Method.SUPERVISED)
"""Methods that train a network."""


class Uncertain(StrEnum):
    """What the label -1 (uncertain) counts as."""

    IGNORE = "ignore"
    POSITIVE = "positive"
    NEGATIVE = "negative"


class Missing(StrEnum):
    """What a blank label (not mentioned) counts as."""

    IGNORE = "ignore"
    NEGATIVE = "negative"
