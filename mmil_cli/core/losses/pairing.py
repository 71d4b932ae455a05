"""Which pairs of a batch are positives, which negatives, and which say nothing."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mmil_cli.core.losses.reducer import LOCAL, Reducer


class SameGroup(StrEnum):
    """What to make of an image and a report that are no pair, but share their study or their text."""

    EXCLUDE = "exclude"
    POSITIVE = "positive"


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """The role of every (image, report) of a batch; a pair that is neither is left out of the objective.

    With several processes the rows are the images of this one and the columns all reports of the job.

    Attributes:
        positive: pairs drawn from the joint distribution.
        negative: pairs that stand for the product of the marginals.
        reducer: finishes sums over images; of one process, unless given.
    """

    positive: Bool[Tensor, "image report"]
    negative: Bool[Tensor, "image report"]
    reducer: Reducer = LOCAL


def pair_batch(
    study: Int[Tensor, " report"], text: Int[Tensor, " report"], *, same_group: SameGroup = SameGroup.EXCLUDE
) -> Pairing:
    """The pairing of a batch whose image b belongs to report b.

    Two rows of one study, or with reports of identical normalised text, are never negatives of each other.
    An empty batch gives an empty pairing.

    Args:
        study: a number for the study of each row; equal numbers, same study.
        text: a number for the text of each row; equal numbers, identical text.
        same_group: whether such pairs are left out or are further positives.
    """
    return pair_rows(study, text, rows=slice(0, study.shape[0]), same_group=same_group)


def pair_rows(
    study: Int[Tensor, " report"],
    text: Int[Tensor, " report"],
    *,
    rows: slice,
    same_group: SameGroup = SameGroup.EXCLUDE,
    reducer: Reducer = LOCAL,
) -> Pairing:
    """The rows of `pair_batch` that one process owns: some images of the job against all of its reports.

    Args:
        study: a number for the study of every report of the job.
        text: a number for the text of every report of the job.
        rows: places of this process's images among them, `first:first + number`.
        same_group: as in `pair_batch`.
        reducer: finishes sums over the images of all processes.
    """
    same = (study[rows, None] == study[None, :]) | (text[rows, None] == text[None, :])
    place = torch.arange(study.shape[0], device=study.device)
    own = place[rows, None] == place[None, :]
    return Pairing(
        positive=same if same_group is SameGroup.POSITIVE else own, negative=~same, reducer=reducer
    )
