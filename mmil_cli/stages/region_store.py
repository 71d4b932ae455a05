"""Regions of many films on disk, memory-mapped: what is encoded once and scored many times."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mmil_cli.core.bags import RegionBag
from mmil_cli.core.model import ImageFeatures
from mmil_cli.files import write_json
from mmil_cli.stages.evaluation import Evaluation, OnProgress

REGIONS, MASK, VECTORS, SHAPE = "regions.npy", "mask.npy", "vectors.npy", "regions.json"


@dataclass(frozen=True, eq=False)
class RegionStore:
    """Films as the model sees them.

    Attributes:
        features: regions, float32 [F, N, D], on disk.
        mask: True where a region is real [F, N].
        vectors: one vector a film, float32 [F, D]: the mean of its real regions at unit length, what films
            are compared with films by, and shortlisted by [ours].
        grid: rows and columns.
        cell_centre: where in its cell a region looks.
    """

    features: np.ndarray
    mask: np.ndarray
    vectors: np.ndarray
    grid: tuple[int, int]
    cell_centre: float

    def __len__(self) -> int:
        return len(self.vectors)

    def regions(self, films: slice | np.ndarray) -> RegionBag:
        """Some films, by slice or number, in memory."""
        return RegionBag(
            features=torch.from_numpy(np.array(self.features[films])),
            mask=torch.from_numpy(np.array(self.mask[films])),
            grid=self.grid,
            cell_centre=self.cell_centre,
        )


def fill_store(
    folder: Path, evaluation: Evaluation, rows: np.ndarray, *, on_progress: OnProgress | None = None
) -> RegionStore:
    """Encodes rows of the dataset (at least one), each once, into files of a folder.

    Raises:
        OSError: the disk is full.
    """
    features = mask = vectors = None
    shape: dict[str, object] = {}
    for part, films in evaluation.blocks(rows, on_progress=on_progress):
        bag = films.regions
        if features is None or mask is None or vectors is None:
            size, dim = bag.features.shape[1:]
            features = new_array(folder / REGIONS, (len(rows), size, dim), "float32")
            mask = new_array(folder / MASK, (len(rows), size), "bool")
            vectors = new_array(folder / VECTORS, (len(rows), dim), "float32")
            shape = {"grid": list(bag.grid), "cell_centre": bag.cell_centre}
        features[part], mask[part] = bag.features.float().numpy(), bag.mask.numpy()
        vectors[part] = film_vectors(films)
    assert features is not None, "a store needs films"
    for array in (features, mask, vectors):
        array.flush()  # type: ignore[union-attr]
    write_json(folder / SHAPE, shape)
    return open_store(folder)


def open_store(folder: Path) -> RegionStore:
    """The store of a folder; nothing of it is read yet.

    Raises:
        OSError: a file is missing.
        ValueError: a file is damaged.
    """
    shape = json.loads((folder / SHAPE).read_text(encoding="utf-8"))
    features, mask, vectors = (np.load(folder / name, mmap_mode="r") for name in (REGIONS, MASK, VECTORS))
    if not (features.shape[:2] == mask.shape and len(vectors) == len(mask)):
        raise ValueError(f"{folder}: its arrays are of different films")
    return RegionStore(features, mask, np.array(vectors), tuple(shape["grid"]), float(shape["cell_centre"]))


def film_vectors(films: ImageFeatures) -> np.ndarray:
    """The mean of each film's real regions at unit length, float32 [B, D]; zeros where there is none."""
    bag = films.regions
    total = (bag.features.float() * bag.mask.unsqueeze(-1)).sum(dim=1)
    return torch.nn.functional.normalize(total, dim=-1).numpy()


def new_array(path: Path, shape: tuple[int, ...], kind: str) -> np.memmap:
    """An empty .npy file to fill in place."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
