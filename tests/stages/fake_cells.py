"""A kind of cell for tests: as quick as arithmetic, and it fails where it is told to."""

import os
from pathlib import Path

import numpy as np

BATCH = 40


def check(settings, *, offers):
    from mmil_cli.errors import UsageError

    unknown = set(settings) - {"mean", "noise", "fails", "of", "own_cases"}
    if unknown:
        raise UsageError(f"no setting {unknown}")


def metrics(settings, *, offers):
    from mmil_cli.stages.study.kinds import Metric

    return {
        "fake/good": Metric(title="good < & >"),
        "fake/bad": Metric(title="bad", higher_is_better=False),
        "fake/seconds": Metric(title="seconds", higher_is_better=False, is_time=True),
    }


def needs(settings):
    return (settings["of"],) if "of" in settings else ()


def work(settings, *, data):
    return 1.0


def seconds(settings, place):
    return 0.01


def commands(settings, place):
    return (f"mmil bench mi --seed {place.seed}",)


def run(settings, place):
    from mmil_cli.errors import DataError
    from mmil_cli.stages.study.figures import Figure, mean_figure

    if settings.get("fails") == "error":
        raise DataError("the films are gone")
    if settings.get("fails") == "bug":
        raise ZeroDivisionError("a bug")
    if settings.get("fails") == "once" and not (place.folder / "tried").exists():
        Path(place.folder / "tried").touch()
        raise DataError("only once")
    patients = np.random.default_rng(0).normal(0, 1, BATCH)
    own = np.random.default_rng([1, place.seed]).normal(0, 1, BATCH)
    values = settings.get("mean", 0.0) + patients + settings.get("noise", 0.01) * own
    prefix = f"{place.seed}-" if settings.get("own_cases") else ""
    groups = np.array([f"{prefix}{number}" for number in range(BATCH)])
    yield mean_figure("fake/good", values, groups=groups, chance=0.0)
    yield mean_figure("fake/bad", -values, groups=groups)
    yield Figure(metric="fake/seconds", value=float(os.getpid() % 100))
