"""The generated patches, and a model that learned to tell them from reports that never say where they are."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_patches

RECIPE = (
    "data.batch_size=24",
    "data.workers=0",
    "image.size=64",
    "image.widths=[32, 48]",
    "text.width=32",
    "text.layers=1",
    "text.heads=2",
    "text.dropout=0",
    "projection.dim=32",
    "optim.epochs=20",
    "optim.lr=0.005",
    "augment.rotate=0",
    "augment.scale=0",
    "augment.shift=0.03",
    "run.precision=fp32",
    "run.validate_every=100",
)
SIDE = 75


@dataclass(frozen=True)
class PatchData:
    """Films, the table of phrases and boxes, and the dataset made of them."""

    films: Path
    phrases: Path
    dataset: Path


@dataclass(frozen=True)
class Patches(PatchData):
    """The same with a model."""

    run: Path


@pytest.fixture(scope="session")
def patch_data(tmp_path_factory: pytest.TempPathFactory) -> PatchData:
    """Films, phrase table and dataset."""
    from mmil_cli.stages import preprocess

    root = tmp_path_factory.mktemp("patches")
    (root / "films").mkdir()
    table, phrases = tiny_patches.write(root / "films")
    preprocess.run(table, root / "dataset", side=SIDE)
    return PatchData(films=root / "films", phrases=phrases, dataset=root / "dataset")


@pytest.fixture(scope="session")
def patches(patch_data: PatchData, tmp_path_factory: pytest.TempPathFactory) -> Patches:
    """The same and a trained run."""
    import torch

    from mmil_cli.config.load import load_recipe
    from mmil_cli.stages import pretrain

    run = tmp_path_factory.mktemp("models") / "runs" / "tiny"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pretrain.run(patch_data.dataset, run, recipe=load_recipe(None, overrides=RECIPE), device="cpu")
    torch.set_num_threads(threads)
    return Patches(**vars(patch_data), run=run)
