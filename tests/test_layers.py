"""Imports run one way: each module may import from lower ranks and from its own package, nothing else."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mmil_cli"
RANKS = {
    "errors": 0,
    "files": 1,
    "runtime": 1,
    "core": 2,
    "data": 2,
    "metrics": 2,
    "config": 2,
    "checkpoint": 2,
    "phantom": 2,
    "viz": 2,
    "training": 3,
    "inference": 3,
    "hub": 2,
    "weights": 3,
    "build": 4,
    "objective": 4,
    "stages": 5,
    "api": 6,
    "cli": 6,
    "__main__": 7,
}
TORCH_FREE = ("cli", "config", "data/sources", "metrics", "phantom", "viz")
HEAVY = {"torch", "torchvision", "transformers"}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    part = part_of(path)
    for name in imported(ast.parse(path.read_text())):
        if not name.startswith("mmil_cli."):
            continue
        other = name.split(".")[1]
        allowed = other == part or RANKS[other] < RANKS[part]
        assert allowed, f"{path.relative_to(PACKAGE)} ({part}) must not import {name}"


def test_core_knows_nothing_of_ours_but_errors():
    for path in (PACKAGE / "core").rglob("*.py"):
        for name in imported(ast.parse(path.read_text())):
            assert not name.startswith("mmil_cli.") or name.split(".")[1] in ("core", "errors"), (
                f"{path}: {name}"
            )


@pytest.mark.parametrize("part", TORCH_FREE)
def test_light_parts_import_no_torch_at_their_top(part):
    for path in (PACKAGE / part).rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            found = (
                {name.split(".")[0] for name in imported(node)}
                if isinstance(node, ast.Import | ast.ImportFrom)
                else set()
            )
            assert not found & HEAVY, f"{path}: {found & HEAVY}"
