"""Which pairs of a batch are positives, which negatives, and which say nothing."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class SameGroup(StrEnum):
    """What to make of an image and a report that are no pair, but share their study or their text."""

    EXCLUDE = "exclude"
    POSITIVE = "positive"


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """The role of every (image, report) of a batch; a pair that is neither is left out of the objective."""

    positive: Bool[Tensor, "image report"]
    negative: Bool[Tensor, "image report"]

    def transpose(self) -> "Pairing":
        """The same roles seen from the reports."""
        return Pairing(positive=self.positive.T, negative=self.negative.T)


def pair_batch(
    study: Int[Tensor, " image"], text: Int[Tensor, " image"], *, same_group: SameGroup = SameGroup.EXCLUDE
) -> Pairing:
    """The pairing of a batch whose image b belongs to report b.

    Two rows of one study, or with reports of identical normalised text, are never negatives of each other.

    Args:
        study: a number for the study of each row; equal numbers, same study.
        text: a number for the text of each row; equal numbers, identical text.
        same_group: whether such pairs are left out or are further positives.
    """
    same = (study[:, None] == study[None, :]) | (text[:, None] == text[None, :])
    own = torch.eye(study.shape[0], dtype=torch.bool, device=study.device)
    return Pairing(positive=same if same_group is SameGroup.POSITIVE else own, negative=~same)
