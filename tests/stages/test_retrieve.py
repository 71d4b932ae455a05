import json
from pathlib import Path

import numpy as np
import pytest
import tiny_studies
import torch
from PIL import Image

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import RejectedRecord, UsageError
from mmil_cli.stages import evaluation, gallery, score_table
from mmil_cli.stages.cases import read_cases
from mmil_cli.stages.evaluation import open_evaluation
from mmil_cli.stages.film import open_film
from mmil_cli.stages.gallery import ReportScorer, distinct_texts, score_films, study_reports
from mmil_cli.stages.preprocess import run as preprocess
from mmil_cli.stages.query import find_films, find_reports
from mmil_cli.stages.retrieve import RetrieveResult, run
from mmil_cli.stages.score_table import ScoreTable


@pytest.fixture(scope="module")
def result(tiny_dataset: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> RetrieveResult:
    return run(tiny_dataset, checkpoint=tiny_run, out=tmp_path_factory.mktemp("retrieve"), device="cpu")


def _film(path: Path, corners: list[str]) -> Path:
    Image.fromarray(tiny_studies.draw_film(corners, np.random.default_rng(5)).pixels).save(path)
    return path


def test_both_directions_beat_chance_by_more_than_their_intervals(result: RetrieveResult) -> None:
    for table in (result.image_to_text, result.text_to_image):
        rows = {row.name: row for row in table.rows}
        assert set(rows) == {"R@1", "R@5", "R@10", "R@50", "median rank", "mean rank", "mAP"}
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


def test_a_table_that_is_not_held_gives_the_same_figures(
    tiny_dataset: Path,
    tiny_run: Path,
    result: RetrieveResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ScoreTable.__init__, "__kwdefaults__", {"most": 5 * 48})
    monkeypatch.setattr(score_table, "FILMS_AT_ONCE", 7)
    again = run(tiny_dataset, checkpoint=tiny_run, out=tmp_path, device="cpu")
    assert again.record.read_text() == result.record.read_text()
    assert again.cases.read_bytes() == result.cases.read_bytes()


def test_every_way_of_counting_has_its_own_gallery_and_matches(
    tiny_dataset: Path, result: RetrieveResult
) -> None:
    dataset = StudyDataset.open(tiny_dataset)
    rows = dataset.indices("test")
    texts = len(set(dataset.column("text_key")[rows]))
    galleries = {name: table["image_to_text"].num_gallery for name, table in result.variants.items()}
    assert galleries == {"words": 36, "strict": 48, "study": 36, "merged": texts}
    recall = {name: table["image_to_text"].rows[0].measured.value for name, table in result.variants.items()}
    assert result.variants["words"]["image_to_text"] == result.image_to_text
    assert recall["words"] >= recall["study"] > recall["strict"]  # a study of two films has its report twice
    chance = result.variants["strict"]["text_to_image"].rows[0].chance
    assert chance == pytest.approx(1 / 48)
    assert result.variants["merged"]["text_to_image"].num_queries == texts


def test_films_find_the_other_film_of_their_study(tiny_dataset: Path, result: RetrieveResult) -> None:
    table = result.image_to_image
    assert table is not None
    assert (table.num_queries, table.num_without_match, table.num_gallery) == (24, 24, 47)
    rows = {row.name: row for row in table.rows}
    assert rows["R@5"].measured.low > rows["R@5"].chance
    assert result.text_to_text is None  # no report has an impression


def test_labels_are_found_beyond_chance(result: RetrieveResult) -> None:
    assert set(result.by_label) == {"image_to_text", "text_to_image", "image_to_image", "text_to_text"}
    for direction, table in result.by_label.items():
        figure = table.mean.figures["P@5"]
        assert figure.measured.low > figure.chance, direction
        assert "Never" not in {row.name for row in table.findings}


def test_the_cases_of_queries_average_to_the_figures(result: RetrieveResult) -> None:
    cases = read_cases(result.cases)
    rows = {row.name: row.measured.value for row in result.image_to_text.rows}
    assert cases["image_to_text", "R@5"].value.mean() == pytest.approx(rows["R@5"])
    assert cases["image_to_text", "AP"].value.mean() == pytest.approx(rows["mAP"])
    assert np.median(cases["image_to_text", "rank"].value) == pytest.approx(rows["median rank"])
    strict = cases["text_to_image/strict", "R@1"]
    assert len(set(strict.case_id)) == len(strict.case_id) == 48
    of_label = next(row for row in result.by_label["image_to_image"].findings)
    by_label = cases["image_to_image/label", f"{of_label.name} P@1"]
    assert by_label.value.mean() == pytest.approx(of_label.figures["P@1"].measured.value)
    assert set(by_label.patient_id) <= set(strict.patient_id)


def test_impressions_are_looked_for_among_findings(tiny_run: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    lines = ["image,report,patient_id,split"]
    for number, corners in enumerate([["left upper"], ["right lower"], ["left lower", "right upper"], []]):
        _film(tmp_path / f"{number}.png", corners)
        shown = " ".join(f"Square in the {corner} corner." for corner in corners) or "Nothing."
        words = " ".join(f"Bright {corner} square." for corner in corners) or "The left upper corner is dark."
        findings = "" if number == 3 else f"FINDINGS: {shown}\n"
        lines.append(f'{number}.png,"{findings}IMPRESSION: {words}",p{number},test')
    table.write_text("\n".join(lines) + "\n")
    preprocess(table, tmp_path / "data", side=64, max_rejected=1.0)
    found = run(tmp_path / "data", checkpoint=tiny_run, out=tmp_path, device="cpu").text_to_text
    assert found is not None
    assert (found.num_queries, found.num_gallery) == (3, 3)
    assert {row.name: row.measured.value for row in found.rows}["R@1"] == 1.0


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
