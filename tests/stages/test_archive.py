"""An index of an archive, and what it finds."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_studies
import torch
from PIL import Image

from mmil_cli.checkpoint import read_tensors
from mmil_cli.errors import CheckpointError, DataError, UsageError
from mmil_cli.stages.archive import Archive, build_archive, coarse_regions, open_archive
from mmil_cli.stages.archive_filter import Filter, select_films
from mmil_cli.stages.archive_query import films_for_text, films_like, reports_for_film
from mmil_cli.stages.archive_scores import full_scores, shortlist
from mmil_cli.stages.contact_sheet import contact_sheet
from mmil_cli.stages.gallery import ReportScorer
from mmil_cli.stages.query import find_films, find_reports
from mmil_cli.stages.region_store import RegionStore

TEXT = "Bright left lower square. No square in the right upper corner."
EVERYTHING = Filter()


@pytest.fixture(scope="module")
def folder(tiny_dataset: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("indexes") / "tiny"
    assert build_archive(tiny_dataset, out, checkpoint=tiny_run, device="cpu") == 176
    return out


@pytest.fixture(scope="module")
def archive(folder: Path) -> Archive:
    return open_archive(folder, device="cpu")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    drawn = tiny_studies.draw_film(["left upper", "right lower"], np.random.default_rng(5)).pixels
    Image.fromarray(drawn).save(tmp_path / "film.png")
    return tmp_path / "film.png"


def test_an_index_finds_what_the_dataset_itself_is_searched_for(
    archive: Archive, tiny_dataset: Path, tiny_run: Path, film: Path
) -> None:
    found = films_for_text(archive, TEXT, chosen=EVERYTHING)
    plain = find_films(tiny_dataset, [TEXT], checkpoint=tiny_run, device="cpu").texts[0].films
    assert [hit.about["image_id"] for hit in found.hits] == [item.image_id for item in plain]
    assert [hit.score for hit in found.hits] == pytest.approx([item.score for item in plain], rel=1e-4)
    assert found.num_gallery == found.num_scored == 176
    reports = find_reports(tiny_dataset, [film], checkpoint=tiny_run, device="cpu", top=5).images[0].reports
    answer = reports_for_film(archive, film, chosen=EVERYTHING, top=5)
    assert [hit.about["study_id"] for hit in answer.hits] == [item.study_id for item in reports]
    assert [hit.sentence for hit in answer.hits] == [item.sentences[0].sentence for item in reports]


def test_a_hit_tells_the_sentence_that_matched_and_where(archive: Archive) -> None:
    answer = films_for_text(archive, "Bright left lower square.", chosen=Filter(split="test"), top=4)
    for hit in answer.hits:
        assert "left lower" in hit.sentence
        row, column = np.unravel_index(np.nanargmax(hit.grid), hit.grid.shape)
        rows, columns = hit.grid.shape
        assert row >= rows / 2
        assert column < columns / 2


def test_films_like_a_film_are_its_nearest_by_cosine(archive: Archive) -> None:
    name = archive.evaluation.dataset.row(3).image_id
    answer = films_like(archive, name, chosen=EVERYTHING, top=5)
    vectors = torch.from_numpy(archive.store.vectors)
    cosines = torch.nn.functional.cosine_similarity(vectors, vectors[3:4])
    cosines[3] = -2.0
    assert [hit.row for hit in answer.hits] == cosines.argsort(descending=True)[:5].tolist()
    assert answer.num_gallery == 175


def test_filters_leave_what_they_say(archive: Archive) -> None:
    dataset = archive.evaluation.dataset
    labels = dataset.labels(["Left Lower Square", "Left Upper Square"])
    wanted = (labels[:, 0] == 1) & (labels[:, 1] == 0) & (dataset.column("split") == "test")
    chosen = Filter(labels=("Left Lower Square", "Left Upper Square=0"), split="test")
    assert select_films(archive, chosen).tolist() == np.flatnonzero(wanted).tolist()
    rows = {hit.row for hit in films_for_text(archive, TEXT, chosen=chosen, top=99).hits}
    assert rows == set(np.flatnonzero(wanted).tolist())


@pytest.mark.parametrize(
    ("chosen", "fault"),
    [
        (Filter(labels=("Left Lower Sqare",)), "did you mean 'Left Lower Square'"),
        (Filter(labels=("Left Lower Square=2",)), "FINDING=0"),
        (Filter(labels=("Never",)), "no film is left"),
        (Filter(view="PA"), "no film has the view 'PA'"),
        (Filter(split="holdout"), "no split 'holdout'"),
    ],
)
def test_filters_that_cannot_be_are_refused(archive: Archive, chosen: Filter, fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        films_for_text(archive, TEXT, chosen=chosen)


def test_films_are_found_by_the_day_of_their_study(
    tiny_table: Path, tiny_run: Path, archive: Archive, tmp_path: Path
) -> None:
    from mmil_cli.data.sources.options import SourceOptions
    from mmil_cli.stages.preprocess import run

    with tiny_table.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for number, row in enumerate(rows):
        row["study_date"] = f"2020-01-{1 + number % 28:02}" if number % 5 else ""
    with (tiny_table.parent / "dated.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    run(
        tiny_table.parent / "dated.csv",
        tmp_path / "data",
        side=64,
        source_options=SourceOptions(study_days=True),
    )
    build_archive(tmp_path / "data", tmp_path / "index", checkpoint=tiny_run, device="cpu")
    dated = open_archive(tmp_path / "index", device="cpu")
    days = [dated.evaluation.dataset.row(place).study_day for place in range(len(rows))]
    assert None in days
    known = [-1 if day is None else day for day in days]
    for first, last in [(0, 0), (1, None), (None, 3), (2, 9), (0, None)]:
        found = films_for_text(dated, TEXT, chosen=Filter(from_day=first, to_day=last), top=999)
        low, high = first or 0, 99 if last is None else last
        assert {hit.row for hit in found.hits} == {n for n, day in enumerate(known) if low <= day <= high}
        assert all(hit.about["day"] == str(known[hit.row]) for hit in found.hits)
    with pytest.raises(UsageError, match="no film is left"):
        films_for_text(dated, TEXT, chosen=Filter(from_day=500))
    with pytest.raises(UsageError, match="--from-day 9 lies after --to-day 2"):
        films_for_text(dated, TEXT, chosen=Filter(from_day=9, to_day=2))
    with pytest.raises(UsageError, match="has no days of studies, and dates are never kept"):
        films_for_text(archive, TEXT, chosen=Filter(to_day=3))


def test_two_stages_score_fewer_films_and_find_the_same_first_one(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shortlist.__kwdefaults__, "least", 1)
    queries = [[text.format(corner)] for corner in tiny_studies.CORNERS for text in tiny_studies.THERE]
    scorer = ReportScorer(archive.evaluation.embedder, queries)
    films = np.arange(len(archive.store))
    full = full_scores(archive, scorer, films)
    lists = shortlist(archive, scorer, films, share=0.3)
    assert {len(listed) for listed in lists} == {53}
    same = [full[:, j].argmax() in listed for j, listed in enumerate(lists)]
    assert np.mean(same) > 0.8  # of squares that a coarse cell is as large as
    answer = films_for_text(archive, TEXT, chosen=EVERYTHING, fast=True)
    assert (answer.num_gallery, answer.num_scored) == (176, 36)
    everything = films_for_text(archive, TEXT, chosen=EVERYTHING)
    scores = {hit.row: hit.score for hit in everything.hits}
    assert [scores[hit.row] for hit in answer.hits if hit.row in scores] == pytest.approx(
        [hit.score for hit in answer.hits if hit.row in scores], rel=1e-4
    )


def test_coarse_regions_are_means_of_real_regions_of_a_ragged_grid() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(2, 15, 4)).astype(np.float32)
    mask = np.ones((2, 15), bool)
    mask[0, [0, 1, 5, 6, 14]] = False
    store = RegionStore(features, mask, features[:, 0], (3, 5), 0.5)
    coarse, real = coarse_regions(store, slice(0, 2))
    assert coarse.shape == (2, 2 * 3, 4)
    assert real[0].tolist() == [False, True, True, True, True, False]
    assert real[1].all()
    one = features[0].reshape(3, 5, 4)[0:2, 2:4].reshape(-1, 4).sum(0)
    np.testing.assert_allclose(coarse[0, 1], one / np.linalg.norm(one), rtol=1e-5)
    assert not coarse[0, 0].any()


def test_the_contact_sheet_stands_alone_and_escapes_reports(archive: Archive, film: Path) -> None:
    like = archive.evaluation.dataset.row(0).image_id
    answers = [
        films_for_text(archive, "square <script>alert(1)</script>", chosen=EVERYTHING, top=2),
        reports_for_film(archive, film, chosen=EVERYTHING, top=2),
        films_like(archive, like, chosen=EVERYTHING, top=2),
    ]
    evil = replace(answers[0].hits[0], sentences=("<img src=x onerror=alert(2)>",))
    page = contact_sheet(archive, [replace(answers[0], hits=(evil, answers[0].hits[1])), *answers[1:]])
    assert page.count("<img ") == 6
    assert "<script" not in page
    assert "&lt;img src=x onerror=alert(2)&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert answers[1].hits[0].sentence in page


def test_an_index_of_another_checkpoint_is_refused(folder: Path, tiny_run: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    other = tmp_path / "other"
    shutil.copytree(tiny_run / "checkpoint", other)
    tensors = read_tensors(other / "model.safetensors")
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] * 1.001}, other / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"made by another checkpoint \(tiny/checkpoint\)"):
        open_archive(folder, checkpoint=other)


def test_an_index_of_another_dataset_is_refused(folder: Path, patch_data, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="made of another dataset"):
        open_archive(folder, data=patch_data.dataset)
    with pytest.raises(DataError, match="is no index"):
        open_archive(tmp_path)
    moved = tmp_path / "deeper" / "moved"
    shutil.copytree(folder, moved)
    with pytest.raises(UsageError, match="no longer at"):
        open_archive(moved)


@pytest.mark.parametrize("name", ["regions.npy", "coarse.npy", "sentences.npy", "regions.json", "index.json"])
def test_a_damaged_index_is_one_sentence(
    folder: Path, name: str, tmp_path: Path, tiny_dataset: Path, tiny_run: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    (damaged / name).write_bytes((damaged / name).read_bytes()[:40])
    with pytest.raises(DataError, match="damaged"):
        open_archive(damaged, data=tiny_dataset, checkpoint=tiny_run)


def test_what_is_no_index_is_not_replaced(tiny_dataset: Path, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no index"):
        build_archive(tiny_dataset, tmp_path, checkpoint=tiny_run)
    assert (tmp_path / "keep.txt").read_text() == "mine"


def test_an_unknown_film_is_refused(archive: Archive) -> None:
    with pytest.raises(UsageError, match="did you mean 'film"):
        films_like(archive, "film03", chosen=EVERYTHING)


def test_a_film_in_colour_is_told(archive: Archive, tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "photo.png")
    answer = reports_for_film(archive, tmp_path / "photo.png", chosen=EVERYTHING, top=1)
    assert "is in colour" in answer.notes[0]


def test_paths_in_the_index_are_relative(folder: Path) -> None:
    card = json.loads((folder / "index.json").read_text())
    assert not any(Path(path).is_absolute() for path in card["paths"].values())


def test_faiss_finds_the_same_films(
    tiny_dataset: Path, tiny_run: Path, archive: Archive, tmp_path: Path
) -> None:
    pytest.importorskip("faiss", reason="the extra is not installed")
    build_archive(tiny_dataset, tmp_path / "graph", checkpoint=tiny_run, neighbours=True, device="cpu")
    graph = open_archive(tmp_path / "graph", device="cpu")
    names = archive.evaluation.dataset.column("image_id")[::20].tolist()
    chosen = Filter(labels=("Left Lower Square",))
    for name in names:
        exact = films_like(archive, name, chosen=chosen, top=5)
        found = films_like(graph, name, chosen=chosen, top=5, faiss=True)
        assert [hit.row for hit in found.hits] == [hit.row for hit in exact.hits]
        assert found.num_scored == 5
    with pytest.raises(UsageError, match="made without --faiss"):
        films_like(archive, names[0], chosen=chosen, faiss=True)
