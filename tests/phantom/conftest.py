"""One small generated tree for all tests of the generator."""

from pathlib import Path

import pytest

from mmil_cli.phantom.difficulty import Difficulty
from mmil_cli.phantom.plan import StudyPlan, plan_studies
from mmil_cli.stages.phantom import run

TREE_STUDIES, TREE_SEED, TREE_SIDE = 36, 5, 192


@pytest.fixture(scope="session")
def generated_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of generated studies."""
    out = tmp_path_factory.mktemp("generated") / "tree"
    run(out, studies=TREE_STUDIES, seed=TREE_SEED, side=TREE_SIDE, workers=1)
    return out


@pytest.fixture(scope="session")
def generated_plans() -> list[StudyPlan]:
    """The plans of that tree."""
    return plan_studies(TREE_STUDIES, seed=TREE_SEED, difficulty=Difficulty.EASY)
