"""A whole report in a film."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_patches
from patch_fixtures import Patches
from typer.testing import CliRunner

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.phrases import read_phrases
from mmil_cli.errors import DataError, UsageError
from mmil_cli.stages import ground_report
from mmil_cli.stages.ground_report import run

ALL = " ".join(words[0] for words in tiny_patches.WORDS.values())


def report(folder: Path, text: str = f"FINDINGS: {ALL}") -> Path:
    path = folder / "report.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_sentences_that_the_film_does_not_show_find_nothing(
    patches: Patches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground_report, "OTHER_FILMS", 60)
    shown: dict[str, set[str]] = {}
    for phrase in read_phrases(patches.phrases):
        if phrase.split == "test":
            shown.setdefault(phrase.image_id, set()).add(phrase.category)
    right = []
    for image_id, kinds in list(shown.items())[:5]:
        found = run(
            patches.films / f"{image_id}.png",
            report=report(tmp_path),
            data=patches.dataset,
            checkpoint=patches.run,
            out=tmp_path,
            device="cpu",
        )
        assert found.num_others == 60
        right += [
            sentence.finds_nothing == (kind not in kinds)
            for kind, sentence in zip(tiny_patches.WORDS, found.sentences, strict=True)
        ]
    assert np.mean(right) > 0.75


def test_a_film_of_the_dataset_comes_with_its_report(patches: Patches, tmp_path: Path) -> None:
    found = run(
        None, image_id="test003", data=patches.dataset, checkpoint=patches.run, out=tmp_path, device="cpu"
    )
    dataset = StudyDataset.open(patches.dataset)
    row = dataset.row(list(dataset.column("image_id")).index("test003"))
    assert [sentence.finding.phrase for sentence in found.sentences] == list(dict.fromkeys(row.sentences))
    assert found.num_others == sum(dataset.column("patient_id") != row.patient_id)
    record = json.loads(found.record.read_text())
    for entry, sentence in zip(record["sentences"], found.sentences, strict=True):
        assert entry["share_of_other_films_below"] == sentence.share_below
        assert entry["finds_nothing"] is (sentence.share_below <= 0.5)
        assert set(entry["weights"]) == {"lse", "nl"}
        critical = entry["critical_region"]
        assert 0 < critical["x"] < row.width
        assert 0 < critical["y"] < row.height
    assert found.picture.read_bytes().startswith(b"\x89PNG")


def test_the_page_escapes_the_report_and_stands_alone(patches: Patches, tmp_path: Path) -> None:
    text = "FINDINGS: There is a bright patch <script>alert(1)</script>."
    found = run(
        patches.films / "test000.png",
        report=report(tmp_path, text),
        checkpoint=patches.run,
        out=tmp_path,
        device="cpu",
    )
    page = found.page.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<img ") == 1 + len(found.sentences) * 2
    assert found.sentences[0].finds_nothing is None
    assert any("give --data" in note for note in found.notes)


def test_what_cannot_be_looked_for_is_refused(patches: Patches, tmp_path: Path) -> None:
    film = patches.films / "test000.png"
    with pytest.raises(DataError, match="no sentence that describes a film"):
        run(film, report=report(tmp_path, "HISTORY: cough."), checkpoint=patches.run, out=tmp_path)
    (tmp_path / "latin.txt").write_bytes("FINDINGS: \xd6dem.".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8 text"):
        run(film, report=tmp_path / "latin.txt", checkpoint=patches.run, out=tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        run(film, report=tmp_path / "none.txt", checkpoint=patches.run, out=tmp_path)
    with pytest.raises(UsageError, match="has no film 'tst003'; did you mean"):
        run(None, image_id="tst003", data=patches.dataset, checkpoint=patches.run, out=tmp_path)
    with pytest.raises(UsageError, match="there is no report"):
        run(film, data=patches.dataset, checkpoint=patches.run, out=tmp_path)


def test_the_command_prints_what_was_found(patches: Patches, tmp_path: Path) -> None:
    from mmil_cli.cli.app import app

    text = report(tmp_path)
    arguments = ["ground", "--id", "test000", "--data", patches.dataset, "--report", text,
                 "--checkpoint", patches.run, "--out", tmp_path]  # fmt: skip
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    assert "test000, held against" in result.stdout
    assert str(tmp_path / "test000_report.html") in result.stdout
