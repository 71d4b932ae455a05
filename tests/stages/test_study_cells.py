"""Cells that train and evaluate: their figures are those of the commands. And a study that is killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

SETTINGS = {
    "recipe": "demo",
    "score": "lse+nl",
    "image.size": 64,
    "image.widths": [8, 16],
    "text.width": 16,
    "optim.epochs": 2,
    "data.batch_size": 16,
    "run.precision": "fp32",
    "methods": ["linear", "zero-shot"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Generated studies as data of a study."""
    from mmil_cli.stages.study.generated_data import make, offers
    from mmil_cli.stages.study.kinds import StudyData

    settings = {"studies": 60, "seed": 3, "film_side": 64, "side": 64}
    folder, phrases = make(settings, tmp_path_factory.mktemp("made"), given=None, on_progress=lambda *_: None)
    return StudyData(
        name="generated",
        title="generated studies, not patients",
        offers=offers(settings, given=None),
        folder=folder,
        phrases=phrases,
        content_hash="0",
    )


@pytest.fixture(scope="module")
def finished(made, tmp_path_factory):
    """A checkpoint cell that has run, and its figures."""
    from mmil_cli.stages.study.checkpoint_cells import run
    from mmil_cli.stages.study.kinds import CellPlace

    place = CellPlace(folder=tmp_path_factory.mktemp("cell"), seed=1, data=made, device="cpu")
    return place, list(run(SETTINGS, place))


def means(figures):
    return {figure.metric: figure for figure in figures if not figure.finding}


def test_figures_are_those_of_probe_retrieve_and_ground(finished, made):
    from mmil_cli.stages.study.checkpoint_cells import metrics

    place, figures = finished
    found, results = means(figures), place.folder / "results"
    assert set(found) == set(metrics(SETTINGS, offers=made.offers))
    probe, retrieve, ground = (
        json.loads((results / f"{name}.json").read_text()) for name in ("probe", "retrieve", "ground")
    )
    for method in ("linear", "zero-shot"):
        wanted = probe["methods"][method]["mean"]["auroc"]["value"]
        assert found[f"probe/{method}/auroc"].value == pytest.approx(wanted)
    for direction in ("image_to_text", "text_to_image"):
        for row in retrieve[direction]["rows"]:
            if row["name"] in ("R@5", "mAP"):
                figure = found[f"retrieve/{direction}/{row['name']}"]
                assert figure.value == pytest.approx(row["measured"]["value"])
                assert figure.chance == pytest.approx(row["chance"])
    model = ground["systems"]["model"]
    for name in ("pointing", "cnr_signed", "pixel_auroc"):
        assert found[f"ground/{name}"].value == pytest.approx(model["macro"][name]["value"])
        for finding, row in model["findings"].items():
            (own,) = [f for f in figures if (f.metric, f.finding) == (f"ground/{name}", finding)]
            assert own.value == pytest.approx(row[name]["value"])
    assert found["ground/pointing"].chance == pytest.approx(
        ground["systems"]["chance"]["macro"]["pointing"]["value"]
    )


def test_a_cell_that_is_run_again_comes_to_the_same(finished, made, tmp_path):
    from mmil_cli.stages.study.checkpoint_cells import run
    from mmil_cli.stages.study.kinds import CellPlace

    figures = finished[1]
    again = list(run(SETTINGS, CellPlace(folder=tmp_path, seed=1, data=made, device="cpu")))
    assert [figure.value for figure in again] == pytest.approx([f.value for f in figures], nan_ok=True)
    other = list(run(SETTINGS, CellPlace(folder=tmp_path / "2", seed=2, data=made, device="cpu")))
    assert means(other)["probe/linear/auroc"].value != means(figures)["probe/linear/auroc"].value


def test_an_untrained_cell_is_the_model_before_its_first_step(finished, made, tmp_path):
    from mmil_cli.checkpoint import open_checkpoint
    from mmil_cli.stages.study.checkpoint_cells import run
    from mmil_cli.stages.study.kinds import CellPlace

    place = CellPlace(folder=tmp_path, seed=1, data=made, device="cpu")
    untrained = means(run({**SETTINGS, "untrained": True}, place))
    assert open_checkpoint(tmp_path / "run").card.step == 0
    assert untrained.keys() == means(finished[1]).keys()
    assert untrained["ground/pixel_auroc"].value != means(finished[1])["ground/pixel_auroc"].value
    again = means(run({**SETTINGS, "untrained": True}, place))
    assert again["ground/pixel_auroc"].value == untrained["ground/pixel_auroc"].value


def test_labels_are_read_off_the_checkpoint_of_another_cell(finished, made, tmp_path):
    from mmil_cli.stages.study.kinds import CellPlace
    from mmil_cli.stages.study.label_cells import metrics, run

    place, figures = finished
    settings = {
        "of": "first",
        "methods": ["linear", "initial", "finetune"],
        "labels": ["20%", "100%"],
        "epochs": 1,
    }
    found = means(
        run(
            settings,
            CellPlace(folder=tmp_path, seed=1, data=made, needed={"first": place.folder}, device="cpu"),
        )
    )
    assert set(found) == set(metrics(settings, offers=made.offers))
    assert found["labels/linear/100%"].value == pytest.approx(means(figures)["probe/linear/auroc"].value)
    assert found["labels/linear/20%"].value != found["labels/linear/100%"].value
    assert found["labels/initial/100%"].value != found["labels/linear/100%"].value
    assert found["labels/finetune/100%"].draws is not None


def test_floors_are_the_controls_of_ground(finished, made, tmp_path):
    from mmil_cli.stages.study.floor_cells import run
    from mmil_cli.stages.study.kinds import CellPlace

    systems = json.loads((finished[0].folder / "results" / "ground.json").read_text())["systems"]
    place = CellPlace(folder=tmp_path, seed=0, data=made, device="cpu")
    for floor, system in (("location prior", "prior"), ("centre", "centre")):
        found = means(run({"floor": floor}, place))
        for name in ("pointing", "pixel_auroc", "cnr_signed", "miou_calibrated"):
            wanted = systems[system]["macro"][name]["value"]
            assert found[f"ground/{name}"].value == pytest.approx(wanted, abs=1e-9)
    hog = means(run({"floor": "hog"}, place))
    assert 0.5 < hog["probe/linear/auroc"].value <= 1


def test_the_commands_of_a_cell_make_its_figures_again(finished, made, tmp_path):
    """The very lines of the page, typed."""
    import shlex

    from mmil_cli.stages.study.checkpoint_cells import commands

    place, figures = finished
    lines = commands(SETTINGS, place)
    assert [line.split()[1] for line in lines] == ["pretrain", "probe", "retrieve", "ground"]
    moved = [line.replace(str(place.folder), str(tmp_path)) for line in lines[:2]]
    for line in (moved[0], f"{moved[1]} --out {tmp_path / 'probe'}"):
        assert typed(*shlex.split(line)[1:]).exit_code == 0
    found = json.loads((tmp_path / "probe" / "probe.json").read_text())["methods"]["linear"]
    assert found["mean"]["auroc"]["value"] == pytest.approx(means(figures)["probe/linear/auroc"].value)


def typed(*arguments):
    """A command in this process; what is wrong for the user passes through."""
    from typer.testing import CliRunner

    from mmil_cli.cli.app import app

    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def inline(monkeypatch):
    """Cells run in this process."""
    from mmil_cli.stages.study import run
    from mmil_cli.stages.workers import Inline

    monkeypatch.setattr(run, "_pool", lambda *_: Inline())


STUDY = """
name: sums
title: Sums
purpose: Cells of a second.
kind: sums
base: {local_steps: 20, global_steps: 40, reads: 5}
arms:
  - {name: apart, set: {studies: findings apart}}
  - {name: twice, set: {studies: one finding told twice}}
  - {name: wide, set: {studies: findings over two regions}}
seeds: 3
metrics: [sums/gap, sums/local]
baseline: apart
claims:
  - {text: wide is above, source: ours, metric: sums/gap, better: wide, than: [apart, twice]}
forms: {short: {minutes: 1}}
"""
TABLES = ("results.csv", "results.parquet", "claims.csv", "differences.csv")


def killed(recipe, out, *, after):
    """A study in processes of its own that ends by kill -9, all at once, when it has so many cells."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mmil_cli", "study", str(recipe), "--out", str(out), "--workers", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    while len(list(out.glob("cells/*/cell.json"))) < after and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[1]


def test_a_study_that_is_killed_goes_on_and_comes_to_the_same_tables(tmp_path, inline):
    recipe, out, whole = tmp_path / "sums.yaml", tmp_path / "killed", tmp_path / "whole"
    recipe.write_text(STUDY)
    assert "the 9 cells take about" in killed(recipe, out, after=2)
    times = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/cell.json")}
    assert 2 <= len(times) < 9
    told = typed("study", recipe, "--out", out)
    assert told.exit_code == 0
    assert f"{len(times)} of 9 cells are done; the other {9 - len(times)} cells take about" in told.stderr
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    of_whole = typed("study", recipe, "--out", whole).stdout
    assert told.stdout.replace(str(out), "") == of_whole.replace(str(whole), "")
    assert "wide is above" in of_whole
    for name in TABLES:
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert (out / "page.html").stat().st_size > 5000


def test_sentences_of_the_command(tmp_path, inline):
    from mmil_cli.errors import UsageError

    recipe = tmp_path / "sums.yaml"
    recipe.write_text(STUDY)
    told = typed("study", recipe, "--out", tmp_path / "s", "--dry-run").stdout
    assert "9 cells: 3 arms, 1 conditions, 3 seeds" in told
    for options, sentence in (
        (("--data", "films"), "--data takes NAME=PATH"),
        (("--executor", "dask"), "go together"),
        (("--executor", "slurm"), "processes or dask"),
        (("--workers", "0"), "give at least 1"),
        (("--threads", "0"), "at least 1"),
        (("--form", "ful"), "has no form 'ful'"),
    ):
        with pytest.raises(UsageError, match=sentence):
            typed("study", recipe, "--out", tmp_path / f"s{options[1]}", *options)
    recipe.write_text(STUDY.replace("studies: findings apart", "studies: findings apar"))
    with pytest.raises(UsageError, match="did you mean 'findings apart'"):
        typed("study", recipe, "--out", tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_study_of_films_with_a_cell_that_fails(tmp_path, inline):
    """One cell's rate is absurd: it is told, the other is in the table, and the exit code is 1."""
    import yaml

    recipe = tmp_path / "films.yaml"
    tree = {
        "name": "films",
        "title": "Films",
        "purpose": "To fail in part.",
        "data": {
            "generated": {
                "kind": "generated",
                "title": "generated studies, not patients",
                "set": {"studies": 60, "seed": 3, "film_side": 64, "side": 64},
            }
        },
        "base": {**SETTINGS, "optim.epochs": 1, "tasks": ["probe"], "methods": ["linear"]},
        "arms": [
            {"name": "fine"},
            {"name": "absurd", "set": {"optim.lr": 1.0e30, "optim.optimiser": "adamw"}},
        ],
        "seeds": 1,
        "metrics": ["probe/linear/auroc"],
        "baseline": "fine",
        "forms": {"short": {"minutes": 1}},
    }
    recipe.write_text(yaml.safe_dump(tree))
    told = typed("study", recipe, "--out", tmp_path / "s", "--device", "cpu")
    assert told.exit_code == 1
    assert "absurd, seed 0" in told.stdout
    with (tmp_path / "s" / "results.csv").open() as file:
        assert {row["arm"] for row in csv.DictReader(file)} == {"fine"}
    assert "Cells that failed" in (tmp_path / "s" / "page.html").read_text()
