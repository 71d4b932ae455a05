"""What the networks of a probe read: regions held in memory, or films from the dataset."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.fit import fit_film
from mmil_cli.data.transforms import Augment, normalise
from mmil_cli.inference import ImageContract

FilmSample = tuple[np.ndarray, tuple[float, float, float, float]]


class RegionInputs:
    """Frozen regions of films: nothing of them changes at random.

    Args:
        features: [n, N, D]; half precision will do.
        mask: True for regions that show film [n, N].
    """

    def __init__(self, features: Tensor, mask: Tensor) -> None:
        self.features, self.mask = features, mask

    def __len__(self) -> int:
        return len(self.features)

    def batches(self, sampler: Iterable[Any]) -> Iterator[tuple[Tensor, ...]]:
        """Regions and their mask."""
        for pairs in sampler:
            places = torch.tensor([place for _, place in pairs])
            yield self.features[places].float(), self.mask[places]

    def prepare(
        self,
        inputs: tuple[Tensor, ...],
        generator: torch.Generator | None = None,  # noqa: ARG002
    ) -> tuple[Tensor, ...]:
        """The same."""
        return inputs


class FilmInputs:
    """Films of a dataset, decoded when they are read, and augmented as in pretraining.

    Args:
        dataset: of the films.
        rows: of it, in the order of the split.
        contract: how films are prepared.
        augment: random changes while training.
        workers: processes that read films; 0 reads in line.
    """

    def __init__(
        self,
        dataset: StudyDataset,
        rows: np.ndarray,
        *,
        contract: ImageContract,
        augment: Augment,
        workers: int,
    ) -> None:
        self.reader = _FilmReader(dataset, rows, contract)
        self.contract, self.augment, self.workers = contract, augment, workers

    def __len__(self) -> int:
        return len(self.reader)

    def batches(self, sampler: Iterable[Any]) -> Iterator[tuple[Tensor, ...]]:
        """Films as bytes [B, size, size] and their cover [B, 4]."""
        loader = DataLoader(
            self.reader,
            batch_sampler=sampler,
            collate_fn=_collate,
            num_workers=self.workers,
        )
        yield from loader

    def prepare(
        self, inputs: tuple[Tensor, ...], generator: torch.Generator | None = None
    ) -> tuple[Tensor, ...]:
        """Normalised films and their cover; changed at random where a generator is given."""
        films, cover = inputs
        if generator is not None:
            films, cover = self.augment(films, cover, generator)
        return normalise(films, mean=self.contract.mean, std=self.contract.std), cover


class _FilmReader(TorchDataset[FilmSample]):
    """Reads (step, place) pairs."""

    def __init__(self, dataset: StudyDataset, rows: np.ndarray, contract: ImageContract) -> None:
        self.dataset, self.rows, self.contract = dataset, rows, contract

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[int, int]) -> FilmSample:
        pixels = self.dataset.pixels(int(self.rows[key[1]]))
        fitted = fit_film(pixels, size=self.contract.size, fit=self.contract.fit)
        return fitted.pixels, fitted.cover


def _collate(samples: list[FilmSample]) -> tuple[Tensor, Tensor]:
    films = torch.from_numpy(np.stack([pixels for pixels, _ in samples]))
    return films, torch.tensor([cover for _, cover in samples])
