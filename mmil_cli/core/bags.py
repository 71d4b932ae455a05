"""The two bags a score compares. Axis names used throughout the core:

image     B, images of the batch            region    N, cells of the feature map, row by row
report    R, reports of the batch           slot      M, sentence places of a report, padded
sentence  U, distinct sentences             dim       D, the joint embedding
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RegionBag:
    """Images as bags of regions.

    Attributes:
        features: region features, L2-normalised.
        mask: True where the region shows film, False where it is padding.
        grid: rows and columns of the region grid; rows x columns = region.
        cell_centre: where in its cell a region looks, as a share of the cell's side from the upper left.
    """

    features: Float[Tensor, "image region dim"]
    mask: Bool[Tensor, "image region"]
    grid: tuple[int, int]
    cell_centre: float = 0.5

    def __getitem__(self, images: slice | Tensor) -> "RegionBag":
        """Some of the images."""
        return replace(self, features=self.features[images], mask=self.mask[images])

    def to(self, device: torch.device) -> "RegionBag":
        """The same bag on a device."""
        return replace(self, features=self.features.to(device), mask=self.mask.to(device))


@dataclass(frozen=True, kw_only=True)
class SentenceBag:
    """Reports as bags of sentences, each distinct sentence held once.

    Attributes:
        features: features of the distinct sentences, L2-normalised.
        index: for each report the rows of `features` that it holds; -1 pads.
    """

    features: Float[Tensor, "sentence dim"]
    index: Int[Tensor, "report slot"]

    def __getitem__(self, reports: slice | Tensor) -> "SentenceBag":
        """Some of the reports; the table of sentences stays whole."""
        return replace(self, index=self.index[reports])

    def to(self, device: torch.device) -> "SentenceBag":
        """The same bag on a device."""
        return replace(self, features=self.features.to(device), index=self.index.to(device))
