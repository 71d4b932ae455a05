"""The commands `probe` and `retrieve` on the tiny model: what is printed where, and what is written."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from mmil_cli.cli.probe import probe
from mmil_cli.cli.retrieve import retrieve


def _run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(probe)
    app.command()(retrieve)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_probe_prints_a_table_and_writes_its_record(
    tiny_dataset: Path, tiny_run: Path, tiny_prompts: Path, tmp_path: Path
) -> None:
    result = _run(
        "probe", tiny_dataset, "--checkpoint", tiny_run, "--prompts", tiny_prompts, "--out", tmp_path,
        "--findings", "left_upper_square,Never",
    )  # fmt: skip
    assert "zero-shot on 48 films of 27 patients (test)" in result.stdout
    assert "mean of 1" in result.stdout
    assert f"checkpoint: {tiny_run} (as given)" in result.stderr
    assert "not scored by linear: Never: the train split has 0 positive" in result.stderr
    assert set(json.loads((tmp_path / "probe.json").read_text())["methods"]) == {"linear", "zero-shot"}


def test_probe_finds_the_checkpoint_by_the_environment(
    tiny_dataset: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMIL_CHECKPOINT", str(tiny_run))
    result = _run("probe", tiny_dataset, "--method", "linear", "--out", tmp_path)
    assert "(from MMIL_CHECKPOINT)" in result.stderr
    assert "zero-shot" not in result.stdout


def test_retrieve_prints_both_directions_with_gallery_and_chance(
    tiny_dataset: Path, tiny_run: Path, tmp_path: Path
) -> None:
    result = _run("retrieve", tiny_dataset, "--checkpoint", tiny_run, "--out", tmp_path)
    assert "from films to reports (test): 48 queries, gallery of 36" in result.stdout
    assert "from reports to films (test): 36 queries, gallery of 48" in result.stdout
    assert "chance" in result.stdout
    as_json = _run(
        "retrieve", tiny_dataset, "--checkpoint", tiny_run, "--out", tmp_path, "--json", "--seed", 3
    )
    assert json.loads(as_json.stdout) == json.loads((tmp_path / "retrieve.json").read_text())
    assert json.loads(as_json.stdout)["provenance"]["seed"] == 3


def test_retrieve_answers_a_text(tiny_dataset: Path, tiny_run: Path, tmp_path: Path) -> None:
    query = ("retrieve", tiny_dataset, "--checkpoint", tiny_run, "--text", "Bright left lower square.")
    result = _run(*query, "--text", "the right upper corner is dark", "--top", 3)
    assert "'Bright left lower square.' among 176 films" in result.stdout
    assert "'the right upper corner is dark' among 176 films" in result.stdout
    as_json = _run(*query, "--split", "test", "--json", "--out", tmp_path)
    content = json.loads(as_json.stdout)
    assert len(content["texts"][0]["films"]) == 10
    assert content["num_gallery"] == 48
    assert content == json.loads((tmp_path / "query.json").read_text())


def test_retrieve_answers_a_film(tiny_dataset: Path, tiny_table: Path, tiny_run: Path) -> None:
    film = tiny_table.parent / "film000.png"
    result = _run("retrieve", tiny_dataset, "--checkpoint", tiny_run, "--image", film, "--top", 2)
    assert "film000.png among" in result.stdout
    assert "sentences of " in result.stdout


def test_an_index_is_made_and_asked(tiny_dataset: Path, tiny_run: Path, tmp_path: Path) -> None:
    from mmil_cli.cli.app import app

    def mmil(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    place = tmp_path / "index"
    assert (
        "176 films"
        in mmil("retrieve", "index", tiny_dataset, "--checkpoint", tiny_run, "--out", place).stdout
    )
    ask = ("retrieve", "query", "--index", place, "--text", "Bright left lower square.", "--top", 2)
    found = mmil(*ask, "--out", tmp_path / "found")
    assert "among 176 films" in found.stdout
    assert (tmp_path / "found" / "contact.html").stat().st_size > 10_000
    as_json = json.loads(mmil(*ask, "--json", "--split", "test", "--like", "film003").stdout)
    text, like = as_json["answers"]
    assert (text["num_gallery"], like["kind"], len(like["hits"])) == (48, "like", 2)
    assert text["hits"][0]["phrase"] == "Bright left lower square."
    assert as_json["provenance"]["split"] == "test"
    plain = mmil("retrieve", tiny_dataset, "--checkpoint", tiny_run, "--text", "bright square", "--top", 1)
    assert "among 176 films" in plain.stdout
