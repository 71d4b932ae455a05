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
class Patches:
    """Where everything lies."""

    films: Path
    phrases: Path
    dataset: Path
    run: Path


@pytest.fixture(scope="session")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Patches:
    """Films, phrase table, dataset, and a trained run."""
    import torch

    from mmil_cli.config.load import load_recipe
    from mmil_cli.stages import preprocess, pretrain

    root = tmp_path_factory.mktemp("patches")
    (root / "films").mkdir()
    table, phrases = tiny_patches.write(root / "films")
    made = Patches(
        films=root / "films", phrases=phrases, dataset=root / "dataset", run=root / "runs" / "tiny"
    )
    preprocess.run(table, made.dataset, side=SIDE)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pretrain.run(made.dataset, made.run, recipe=load_recipe(None, overrides=RECIPE), device="cpu")
    torch.set_num_threads(threads)
    return made
