"""The two bags a score compares. Axis names used throughout the core:

image     B, images of the batch            region    N, cells of the feature map, row by row
report    R, reports of the batch           slot      M, sentence places of a report, padded
sentence  U, distinct sentences             word      T, tokens of a sentence, padded
dim       D, the joint embedding
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
        grid: rows and columns of the grid of a film; rows x columns = region, or a multiple of it for bags of
            several films, whose regions follow each other.
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

    def detach(self) -> "RegionBag":
        """The same bag without its history."""
        return replace(self, features=self.features.detach())


def join_films(regions: RegionBag, bag: Int[Tensor, "film"], *, num_bags: int) -> RegionBag:
    """Bags of several films: the regions of all films of a bag as the regions of one image.

    Bags of fewer films than the largest are padded; nothing depends on the order of the films but the order
    of the regions.

    Args:
        regions: of single films.
        bag: of each film; ascending, and every bag from 0 has at least one.
        num_bags: how many there are.
    """
    num_films = len(regions.features)
    if num_films == num_bags:  # one film each
        return regions
    counts = torch.bincount(bag, minlength=num_bags)
    most = int(counts.max())
    slot = torch.arange(num_films, device=bag.device) - (counts.cumsum(dim=0) - counts)[bag]
    place = bag * most + slot
    return replace(
        regions,
        features=_spread_over(regions.features, place, num_bags * most)
        .unflatten(0, (num_bags, most))
        .flatten(1, 2),
        mask=_spread_over(regions.mask, place, num_bags * most).unflatten(0, (num_bags, most)).flatten(1, 2),
    )


def _spread_over(rows: Tensor, places: Tensor, length: int) -> Tensor:
    """Rows [F, ...] at their places among `length` rows, the others zero."""
    return rows.new_zeros(length, *rows.shape[1:]).index_put((places,), rows)


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of some sentences, for scores that take words as instances.

    Attributes:
        features: one vector a word, L2-normalised.
        mask: True for words, False for padding and for marks of the tokenizer.
    """

    features: Float[Tensor, "sentence word dim"]
    mask: Bool[Tensor, "sentence word"]

    def __getitem__(self, sentences: slice | Tensor) -> "Words":
        """Of some of the sentences."""
        return Words(features=self.features[sentences], mask=self.mask[sentences])

    def to(self, device: torch.device) -> "Words":
        """The same words on a device."""
        return Words(features=self.features.to(device), mask=self.mask.to(device))


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Distinct sentences; of a model that reads reports whole, each is a whole report.

    Attributes:
        features: one vector a sentence, L2-normalised.
        words: of each sentence, where the score needs them.
    """

    features: Float[Tensor, "sentence dim"]
    words: Words | None = None

    def __len__(self) -> int:
        return self.features.shape[0]

    def __getitem__(self, chosen: slice | Tensor) -> "Sentences":
        """Some of the sentences."""
        return Sentences(
            features=self.features[chosen], words=None if self.words is None else self.words[chosen]
        )

    def to(self, device: torch.device) -> "Sentences":
        """The same sentences on a device."""
        words = None if self.words is None else self.words.to(device)
        return Sentences(features=self.features.to(device), words=words)

    def detach(self) -> "Sentences":
        """The same sentences without their history."""
        words = self.words and replace(self.words, features=self.words.features.detach())
        return Sentences(features=self.features.detach(), words=words)


@dataclass(frozen=True, kw_only=True)
class SentenceBag:
    """Reports as bags of sentences, each distinct sentence held once.

    Attributes:
        sentences: the distinct ones.
        index: for each report the rows of `sentences` that it holds; -1 pads.
    """

    sentences: Sentences
    index: Int[Tensor, "report slot"]

    def __getitem__(self, reports: slice | Tensor) -> "SentenceBag":
        """Some of the reports; the table of sentences stays whole."""
        return replace(self, index=self.index[reports])

    def to(self, device: torch.device) -> "SentenceBag":
        """The same bag on a device."""
        return SentenceBag(sentences=self.sentences.to(device), index=self.index.to(device))


def one_sentence_reports(sentences: Sentences) -> SentenceBag:
    """Each sentence as a report of its own."""
    places = torch.arange(len(sentences), device=sentences.features.device)
    return SentenceBag(sentences=sentences, index=places.unsqueeze(1))


def join_images(parts: "list[RegionBag]") -> RegionBag:
    """Images of several parts, with grids alike, as one."""
    return replace(
        parts[0],
        features=torch.cat([part.features for part in parts]),
        mask=torch.cat([part.mask for part in parts]),
    )


def join_sentences(parts: "list[Sentences]") -> Sentences:
    """Sentences of several parts as one; words are padded to the longest."""
    words = [part.words for part in parts if part.words is not None]
    longest = max((part.features.shape[1] for part in words), default=0)
    return Sentences(
        features=torch.cat([part.features for part in parts]),
        words=Words(
            features=torch.cat([_padded(part.features, longest) for part in words]),
            mask=torch.cat([_padded(part.mask, longest) for part in words]),
        )
        if words
        else None,
    )


def _padded(x: Tensor, length: int) -> Tensor:
    """A tensor [U, T, ...] with its second axis filled up with zeros."""
    missing = x.new_zeros(x.shape[0], length - x.shape[1], *x.shape[2:])
    return torch.cat([x, missing], dim=1)
