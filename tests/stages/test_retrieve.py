import json
from pathlib import Path

import numpy as np
import pytest
import tiny_studies
import torch
from PIL import Image

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import RejectedRecord, UsageError
from mmil_cli.stages import evaluation, gallery
from mmil_cli.stages.evaluation import open_evaluation
from mmil_cli.stages.film import open_film
from mmil_cli.stages.gallery import ReportScorer, distinct_texts, score_films, study_reports
from mmil_cli.stages.query import find_films, find_reports
from mmil_cli.stages.retrieve import RetrieveResult, run


@pytest.fixture(scope="module")
def result(tiny_dataset: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> RetrieveResult:
    return run(tiny_dataset, checkpoint=tiny_run, out=tmp_path_factory.mktemp("retrieve"), device="cpu")


def _film(path: Path, corners: list[str]) -> Path:
    Image.fromarray(tiny_studies.draw_film(corners, np.random.default_rng(5)).pixels).save(path)
    return path


def test_both_directions_beat_chance_by_more_than_their_intervals(result: RetrieveResult) -> None:
    for table in (result.image_to_text, result.text_to_image):
        rows = {row.name: row for row in table.rows}
        assert set(rows) == {"R@1", "R@5", "R@10", "median rank", "mean rank"}
        assert rows["R@5"].measured.low > rows["R@5"].chance + 0.2
        assert rows["median rank"].measured.high < rows["median rank"].chance


def test_films_are_queries_one_way_and_studies_the_other(result: RetrieveResult) -> None:
    assert (result.image_to_text.num_queries, result.image_to_text.num_gallery) == (48, 36)
    assert (result.text_to_image.num_queries, result.text_to_image.num_gallery) == (36, 48)
    assert result.image_to_text.num_without_match == 0


def test_the_record_holds_figures_chance_and_provenance(result: RetrieveResult) -> None:
    content = json.loads(result.record.read_text())
    assert content["image_to_text"]["rows"][0] == {
        "name": "R@1",
        "measured": vars(result.image_to_text.rows[0].measured),
        "chance": result.image_to_text.rows[0].chance,
    }
    assert content["provenance"]["checkpoint"]["score"] == "lse+nl"
    assert str(result.record.parent) not in result.record.read_text()


def test_the_figures_are_those_of_a_slow_loop(
    tiny_dataset: Path, tiny_run: Path, result: RetrieveResult
) -> None:
    loaded = open_evaluation(tiny_dataset, checkpoint=tiny_run, device="cpu")
    rows = [loaded.dataset.row(int(index)) for index in loaded.dataset.indices("test")]
    studies = {row.study_id: row for row in rows}
    bag = loaded.embedder.reports([row.sentences for row in studies.values()])
    hits = []
    for index, row in zip(loaded.dataset.indices("test"), rows, strict=True):
        film = loaded.embedder.dataset(loaded.dataset, [int(index)])
        scores = loaded.embedder.logits(film.regions, bag)[0].tolist()
        # the same sentences in another order tie, and a tie counts as its share of matches
        tied = [
            report for report, score in zip(studies.values(), scores, strict=True) if score == max(scores)
        ]
        matches = [report.study_id == row.study_id or report.text_key == row.text_key for report in tied]
        hits.append(sum(matches) / len(tied))
    assert result.image_to_text.rows[0].measured.value == pytest.approx(np.mean(hits))


def test_scores_in_blocks_equal_scores_at_once(
    tiny_dataset: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = open_evaluation(tiny_dataset, checkpoint=tiny_run, device="cpu")
    rows = loaded.dataset.indices("test")
    reports = study_reports(loaded.dataset, rows).reports
    told: list[tuple[int, int]] = []
    whole = score_films(loaded, rows, ReportScorer(loaded.embedder, reports))
    monkeypatch.setattr(evaluation, "FILMS_IN_BLOCK", 7)
    monkeypatch.setattr(gallery, "REPORTS_IN_BLOCK", 5)
    scorer = ReportScorer(loaded.embedder, reports)
    blocks = score_films(loaded, rows, scorer, on_progress=lambda done, total: told.append((done, total)))
    np.testing.assert_allclose(blocks, whole, rtol=1e-4, atol=1e-4)
    assert told[-1] == (48, 48)
    assert len(told) >= 7


def test_a_text_finds_the_films_that_show_it(tiny_dataset: Path, tiny_run: Path) -> None:
    text = "Bright left lower square."
    found = find_films(
        tiny_dataset, [text, "No square in the left lower corner."], checkpoint=tiny_run, split="test", top=8
    )
    labels = StudyDataset.open(tiny_dataset)
    column = labels.label_names.index(tiny_studies.label_name("left lower"))
    truth = dict(zip(labels.column("image_id"), labels.labels()[:, column], strict=True))
    there, absent = found.texts
    assert there.text == text
    assert len(there.films) == 8
    assert found.num_gallery == 48
    assert [film.score for film in there.films] == sorted((film.score for film in there.films), reverse=True)
    assert all(truth[film.image_id] != 0 for film in there.films)
    assert all(truth[film.image_id] != 1 for film in absent.films)
    assert {film.split for film in there.films} == {"test"}


def test_a_film_finds_the_report_that_describes_it(
    tiny_dataset: Path, tiny_run: Path, tmp_path: Path
) -> None:
    corners = ["left upper", "right lower"]
    path = _film(tmp_path / "film.png", corners)
    found = find_reports(tiny_dataset, [path], checkpoint=tiny_run, device="cpu", top=3)
    assert found.images[0].image == "film.png"
    assert len(found.images[0].reports) == 3
    best = found.images[0].reports[0]
    described = {
        corner
        for corner in tiny_studies.CORNERS
        if any(
            item.sentence in [text.format(corner) for text in tiny_studies.THERE] for item in best.sentences
        )
    }
    assert described == set(corners)
    scores = [item.score for item in best.sentences]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 4
    all_films = StudyDataset.open(tiny_dataset)
    assert found.num_gallery == len(set(all_films.column("text_key")))


@pytest.mark.parametrize("text", ["", "...", "???", " 12 "])
def test_a_text_without_a_word_is_refused(text: str, tiny_dataset: Path, tiny_run: Path) -> None:
    with pytest.raises(UsageError, match="no word"):
        find_films(tiny_dataset, ["fine words", text], checkpoint=tiny_run)


def test_unknown_words_are_told(tiny_dataset: Path, tiny_run: Path) -> None:
    found = find_films(tiny_dataset, ["胸水"], checkpoint=tiny_run, device="cpu")
    assert found.texts[0].unknown_words == 1
    assert any("unknown to the model" in note for note in found.notes)


def test_an_unreadable_film_is_one_clear_error(tiny_dataset: Path, tiny_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(b"no film")
    with pytest.raises(RejectedRecord, match="neither DICOM"):
        find_reports(tiny_dataset, [path], checkpoint=tiny_run)


def test_an_unknown_split_is_refused(tiny_dataset: Path, tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no split 'holdout'"):
        run(tiny_dataset, checkpoint=tiny_run, out=tmp_path, split="holdout")


def test_every_text_once_with_the_number_of_its_studies(tiny_dataset: Path) -> None:
    dataset = StudyDataset.open(tiny_dataset)
    rows = dataset.indices(None)
    texts = distinct_texts(dataset, rows)
    assert (
        texts.counts.sum() == len(study_reports(dataset, rows).rows) == len(set(dataset.column("study_id")))
    )
    assert len(texts.rows) == len(set(dataset.column("text_key")))
    for row, report in zip(texts.rows, texts.reports, strict=True):
        assert dataset.row(int(row)).sentences == report


def test_a_film_of_a_file_is_prepared_as_preprocess_did_it(
    tiny_table: Path, tiny_dataset: Path, tiny_run: Path
) -> None:
    loaded = open_evaluation(tiny_dataset, checkpoint=tiny_run, device="cpu")
    opened = open_film(tiny_table.parent / "film003.png", loaded.embedder)
    index = list(loaded.dataset.column("image_id")).index("film003")
    np.testing.assert_array_equal(
        opened.fitted.pixels, loaded.embedder.fit(loaded.dataset.pixels(index)).pixels
    )


def test_the_way_back_from_the_models_square_reaches_the_files_pixels(
    tiny_dataset: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """A bright square in a large oblong film is found again where it was drawn."""
    pixels = np.full((300, 200), 40, np.uint8)
    pixels[180:220, 100:150] = 230
    Image.fromarray(pixels).save(tmp_path / "film.png")
    loaded = open_evaluation(tiny_dataset, checkpoint=tiny_run, device="cpu")
    opened = open_film(tmp_path / "film.png", loaded.embedder)
    np.testing.assert_array_equal(opened.pixels, pixels)
    assert opened.fitted.pixels.shape == (64, 64)
    places = torch.from_numpy(opened.fitted.pixels > 135).nonzero().float()
    (top, left), (bottom, right) = places.min(dim=0).values.tolist(), (places.max(dim=0).values + 1).tolist()
    x, y, width, height = opened.to_source.box((left, top, right - left, bottom - top))
    np.testing.assert_allclose((x, y, width, height), (100, 180, 50, 40), atol=6)
