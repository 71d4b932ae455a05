"""A dataset of generated squares and a model trained on it in seconds, shared by the tests of the stages."""

import faulthandler
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_studies
import yaml
from patch_fixtures import patch_data, patches  # noqa: F401  (fixtures)

TINY_RECIPE = (
    "data.batch_size=28",
    "data.workers=0",
    "image.size=64",
    "image.widths=[32, 48]",
    "text.width=32",
    "text.layers=1",
    "text.heads=2",
    "text.dropout=0",
    "projection.dim=32",
    "optim.epochs=60",
    "optim.lr=0.005",
    "augment.rotate=0",
    "augment.scale=0",
    "augment.shift=0.03",
    "run.precision=fp32",
    "run.validate_every=60",
)


@pytest.fixture(scope="session")
def tiny_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CSV of the generated squares, with the films beside it."""
    return tiny_studies.write_table(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="session")
def tiny_dataset(tiny_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dataset folder of the generated squares."""
    from mmil_cli.stages.preprocess import run

    folder = tmp_path_factory.mktemp("datasets") / "tiny"
    run(tiny_table, folder, side=64)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a model trained on them."""
    import torch

    from mmil_cli.config.load import load_recipe
    from mmil_cli.stages.pretrain import run

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run(tiny_dataset, folder, recipe=load_recipe(None, overrides=TINY_RECIPE), device="cpu")
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="session")
def tiny_prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts for the findings of the generated squares."""
    path = tmp_path_factory.mktemp("prompts") / "squares.yaml"
    path.write_text(yaml.safe_dump(tiny_studies.PROMPTS))
    return path


@pytest.fixture
def time_limit() -> Iterator[None]:
    """Ends the test process, with the stacks of its threads, where work in other processes never ends."""
    faulthandler.dump_traceback_later(240, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
