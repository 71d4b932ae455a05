"""Phrases found in single films, through the stage and through the command."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tiny_patches
import torch
import typer
from patch_fixtures import Patches
from typer.testing import CliRunner

from mmil_cli.build import load_checkpoint
from mmil_cli.cli.ground import ground
from mmil_cli.data.phrases import read_phrases
from mmil_cli.errors import RejectedRecord, UsageError
from mmil_cli.stages.film import open_film
from mmil_cli.stages.ground import ground_film, run

ONE_OF_EACH = [words[0] for words in tiny_patches.WORDS.values()]


def command(*arguments: str) -> tuple[str, str]:
    """stdout and stderr of `mmil ground`."""
    app = typer.Typer()
    app.command()(ground)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout, result.stderr


def test_the_peak_of_most_phrases_lies_in_the_patch_they_name(patches: Patches) -> None:
    """Boxes and peaks are in pixels of the file, which is twice as large as the stored film."""
    embedder = load_checkpoint(patches.run, device="cpu").embedder
    tested = [phrase for phrase in read_phrases(patches.phrases) if phrase.split == "test"][:24]
    hits, covered = [], []
    for phrase in tested:
        film = open_film(patches.films / f"{phrase.image_id}.png", embedder)
        ((finding,), grid) = ground_film(embedder, film, [phrase.text])
        x, y, width, height = phrase.boxes[0]
        peak, (left, top, found_width, found_height) = finding.peak, finding.boxes[0].box
        assert finding.values.shape == film.pixels.shape == (tiny_patches.HEIGHT, tiny_patches.WIDTH)
        assert grid == (8, 8)
        assert peak is not None
        hits.append(x <= peak.x <= x + width and y <= peak.y <= y + height)
        covered.append(
            left <= x + width / 2 <= left + found_width and top <= y + height / 2 <= top + found_height
        )
    assert np.mean(hits) > 0.45  # a patch covers 8 % of the film
    assert np.mean(covered) > 0.6


def test_a_phrase_scores_higher_in_films_that_show_it(patches: Patches) -> None:
    embedder = load_checkpoint(patches.run, device="cpu").embedder
    shown: dict[str, set[str]] = {}
    for phrase in read_phrases(patches.phrases):
        if phrase.split == "test":
            shown.setdefault(phrase.image_id, set()).add(phrase.category)
    there: list[float] = []
    absent: list[float] = []
    for image_id, kinds in list(shown.items())[:20]:
        film = open_film(patches.films / f"{image_id}.png", embedder)
        findings, _ = ground_film(embedder, film, ONE_OF_EACH)
        for kind, finding in zip(tiny_patches.WORDS, findings, strict=True):
            (there if kind in kinds else absent).append(finding.score)
    assert np.mean(np.greater.outer(there, absent)) > 0.8


def test_the_score_is_the_logit_of_a_report_of_one_sentence(patches: Patches) -> None:
    embedder = load_checkpoint(patches.run, device="cpu").embedder
    film = open_film(patches.films / "test000.png", embedder)
    findings, _ = ground_film(embedder, film, ONE_OF_EACH)
    regions = embedder.films([film.fitted]).regions
    logits = embedder.logits(regions, embedder.reports([[phrase] for phrase in ONE_OF_EACH]))[0]
    assert [finding.score for finding in findings] == pytest.approx(logits.tolist(), rel=1e-5)
    terms = embedder.model.score.terms
    for finding in findings:
        summed = sum(terms[name].logit_scale.item() * raw for name, raw in finding.terms.items())
        assert summed == pytest.approx(finding.score, rel=1e-4, abs=1e-4)


def test_files_are_written_with_everything_in_them(patches: Patches, tmp_path: Path) -> None:
    result = run(
        patches.films / "test001.png", ONE_OF_EACH, checkpoint=patches.run, out=tmp_path, device="cpu"
    )
    assert result.picture.read_bytes().startswith(b"\x89PNG")
    record = json.loads(result.record.read_text())
    assert result.record.name == "test001.json"
    assert record["film"] == {
        "file": "test001.png", "width": 105, "height": 150, "spacing_mm": None, "view": None,
    }  # fmt: skip
    assert [entry["phrase"] for entry in record["phrases"]] == ONE_OF_EACH
    assert record["grid"] == {"rows": 8, "columns": 8}
    assert record["checkpoint"]["folder"] == "tiny/checkpoint"
    assert record["checkpoint"]["step"] > 0
    for entry in record["phrases"]:
        assert set(entry) == {
            "phrase", "score", "terms", "unknown_words", "is_cut", "peak", "boxes", "critical_region",
            "weights",
        }  # fmt: skip
        assert set(entry["terms"]) == {"lse", "nl"}
        assert 0 <= entry["peak"]["x"] <= 105
        assert entry["peak"]["value"] == pytest.approx(max(box["value"] for box in entry["boxes"]))


def test_threshold_and_smoothing_change_what_is_found(patches: Patches) -> None:
    embedder = load_checkpoint(patches.run, device="cpu").embedder
    film = open_film(patches.films / "test000.png", embedder)
    ((plain,), _) = ground_film(embedder, film, ONE_OF_EACH[:1])
    ((tight,), _) = ground_film(embedder, film, ONE_OF_EACH[:1], threshold=0.9)
    ((smooth,), _) = ground_film(embedder, film, ONE_OF_EACH[:1], smooth=1.5)
    assert tight.boxes[0].box[2] < plain.boxes[0].box[2]
    assert smooth.values.max() < plain.values.max()
    assert smooth.score == plain.score


@pytest.mark.parametrize("phrases", [[], ["..."], ["bright patch", ""], ["bright patch", " 12 "]])
def test_a_phrase_of_no_words_is_refused(
    patches: Patches,
    phrases: list[str],
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=r"no words|no phrase"):
        run(patches.films / "test000.png", phrases, checkpoint=patches.run, out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("smooth", [-1.0, math.nan, math.inf])
def test_a_gaussian_that_cannot_be_is_refused(
    patches: Patches,
    smooth: float,
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="--smooth"):
        run(patches.films / "test000.png", ["x ray"], checkpoint=patches.run, out=tmp_path, smooth=smooth)


def test_a_film_that_is_none_is_refused(patches: Patches, tmp_path: Path) -> None:
    with pytest.raises(RejectedRecord, match="does not exist"):
        run(tmp_path / "none.png", ["bright patch"], checkpoint=patches.run, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_which_checkpoint_and_what_was_written(
    patches: Patches,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(patches.run.parent.parent)
    film = str(patches.films / "test000.png")
    output, progress = command(
        film, "bright patch", "zyzzyva", "--out", str(tmp_path), "--device", "cpu", "--smooth", "1"
    )
    assert "the newest under ./runs" in progress
    assert "the model does not know" in progress
    assert "'zyzzyva'" in progress
    assert str(tmp_path / "test000.json") in output
    assert "bright patch" in output
    assert json.loads((tmp_path / "test000.json").read_text())["options"] == {"threshold": 0.5, "smooth": 1.0}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "give a film and phrases"),
        (["film.png", "mass", "--seed", "1"], "--seed evaluates"),
        (["film.png", "mass", "--split", "test"], "--split evaluates"),
        (["film.png", "mass", "--data", "d"], "--data evaluates"),
        (["--phrases", "p.csv"], "--phrases needs --data"),
        (["--report", "r.txt"], "give IMAGE, or --id"),
        (["--id", "a"], "--id needs --data"),
        (["film.png", "--report", "r.txt", "--id", "a", "--data", "d"], "give IMAGE, or --id"),
        (["film.png", "mass", "--report", "r.txt"], "PHRASE does not go with a whole report"),
        (["film.png", "--report", "r.txt", "--seed", "1"], "--seed draws the films"),
        (["film.png", "--report", "r.txt", "--smooth", "1"], "--smooth does not go"),
        (["--phrases", "p.csv", "--data", "d", "--threshold", "0.4"], "--threshold is for one film"),
        (["film.png", "mass", "--phrases", "p.csv", "--data", "d"], "IMAGE is for one film"),
    ],
)
def test_options_that_would_change_nothing_are_refused(arguments: list[str], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        command(*arguments)


def test_a_real_film_goes_the_whole_way(patches: Patches, shared_data: Path, tmp_path: Path) -> None:
    result = run(
        shared_data / "dicom" / "chest_real" / "RG1_J2KI.dcm",
        ["pleural effusion"],
        checkpoint=patches.run,
        out=tmp_path,
        device="cpu",
    )
    height, width = result.film.pixels.shape
    assert result.findings[0].values.shape == (height, width)
    assert result.findings[0].values.dtype == np.float32
    assert height > 1000
    assert not torch.is_inference_mode_enabled()
