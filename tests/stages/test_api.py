"""`mmil_cli.load`: the scores of `mmil retrieve`, the maps of `mmil ground`, and a fast import."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

TEXTS = ("There is a bright square in the left upper corner.", "No square in the right lower corner.")


@pytest.fixture(scope="module")
def model(tiny_run):
    import mmil_cli

    return mmil_cli.load(tiny_run, device="cpu")


@pytest.fixture
def films(tiny_table):
    return [tiny_table.parent / f"film{number:03}.png" for number in (0, 3, 7)]


def test_importing_the_package_loads_nothing_heavy_and_knows_its_names():
    code = (
        "import sys, mmil_cli; assert mmil_cli.__version__; assert not hasattr(mmil_cli, 'lood')\n"
        "print(sorted({'torch', 'numpy', 'transformers', 'pyarrow'} & set(sys.modules)))\n"
        "print(mmil_cli.load.__name__, mmil_cli.Model.__name__)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.splitlines() == ["[]", "load Model"]


def test_scores_are_those_by_which_reports_are_found(model, films, tiny_dataset, tiny_run):
    from mmil_cli.stages.query import find_reports

    found = find_reports(tiny_dataset, films, checkpoint=tiny_run, split="test", device="cpu", top=3)
    for place, image in enumerate(found.images):
        reports = [[item.sentence for item in report.sentences] for report in image.reports]
        scores = model.score(films, reports)
        assert scores.shape == (3, 3)
        np.testing.assert_allclose(scores[place], [report.score for report in image.reports], rtol=1e-4)
        single = [item.sentence for item in image.reports[0].sentences]
        expected = [item.score for item in image.reports[0].sentences]
        np.testing.assert_allclose(model.score(films, single)[place], expected, rtol=1e-4, atol=1e-4)


def test_a_text_is_split_into_its_sentences(model, films):
    whole = model.score(films, [" ".join(TEXTS)])
    np.testing.assert_allclose(whole, model.score(films, [TEXTS]), rtol=1e-5)
    found = model.embed_texts([" ".join(TEXTS), TEXTS[1]])
    assert found.index.tolist() == [[0, 1], [1, -1]]
    np.testing.assert_allclose(found.embedding[1], found.sentences[1], atol=1e-6)
    mean = found.sentences.mean(axis=0)
    np.testing.assert_allclose(found.embedding[0], mean / np.linalg.norm(mean), atol=1e-5)
    assert found.unknown_words.tolist() == [0, 0]
    assert model.embed_texts(["Zwiebelkuchen."]).unknown_words[0] > 0


def test_image_embeddings_have_the_shapes_that_their_docstring_says(model, films):
    found = model.embed_images(films)
    rows, columns = found.grid
    assert found.pooled.shape == (3, model.recipe.image.widths[-1])
    assert found.regions.shape == (3, rows * columns, model.recipe.projection.dim)
    assert found.mask.shape == (3, rows * columns)
    np.testing.assert_allclose(np.linalg.norm(found.embedding, axis=1), 1, atol=1e-5)
    mean = found.regions[1][found.mask[1]].mean(axis=0)
    np.testing.assert_allclose(found.embedding[1], mean / np.linalg.norm(mean), atol=1e-5)
    assert {found.pooled.dtype, found.embedding.dtype, found.regions.dtype} == {np.dtype(np.float32)}


def test_arrays_are_films_too(model, films):
    bytes_ = np.asarray(Image.open(films[0]).convert("L"))
    expected = model.score(films[:1], TEXTS)
    np.testing.assert_array_equal(model.score([bytes_], TEXTS), expected)
    np.testing.assert_array_equal(model.score([bytes_ / 255.0], TEXTS), expected)
    np.testing.assert_array_equal(model.score([str(films[0])], TEXTS), expected)


def test_grounding_is_that_of_the_command(model, films, tiny_run, tmp_path):
    from mmil_cli.stages import ground

    written = ground.run(films[0], TEXTS, checkpoint=tiny_run, out=tmp_path, smooth=0.5, device="cpu")
    found = model.ground(films[0], TEXTS, smooth=0.5)
    for mine, theirs in zip(found, written.findings, strict=True):
        assert (mine.phrase, mine.score, mine.boxes) == (theirs.phrase, theirs.score, theirs.boxes)
        np.testing.assert_array_equal(mine.values, theirs.values)
    assert not np.array_equal(model.ground(films[0], TEXTS)[0].values, found[0].values)


def test_it_is_found_as_the_commands_find_it(tiny_run, monkeypatch, tmp_path):
    import mmil_cli
    from mmil_cli.errors import UsageError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no checkpoint: give"):
        mmil_cli.load()
    monkeypatch.setenv("MMIL_CHECKPOINT", str(tiny_run))
    loaded = mmil_cli.load()
    assert loaded.folder == tiny_run / "checkpoint"
    assert loaded.card.stage == "pretrain"


def mistakes():
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    return {
        "one film": (lambda m: m.embed_images("film.png"), "for one film give"),
        "no film": (lambda m: m.score([], TEXTS), "at least one file"),
        "one text": (lambda m: m.embed_texts("effusion"), "for one text give"),
        "no text": (lambda m: m.score([ramp], []), "at least one text"),
        "a text without words": (lambda m: m.score([ramp], ["..."]), "has no word"),
        "a sentence without words": (lambda m: m.score([ramp], [["...", "effusion"]]), "has no words"),
        "one phrase": (lambda m: m.ground(ramp, "effusion"), r"give \['effusion'\]"),
        "colour": (lambda m: m.ground(np.zeros((8, 8, 3), np.uint8), ["effusion"]), "one channel"),
        "uint16": (lambda m: m.embed_images([np.ones((8, 8), np.uint16)]), "not of uint16"),
        "out of range": (lambda m: m.embed_images([ramp, 2 * ramp]), "array 1: a film is an array"),
        "NaN": (lambda m: m.embed_images([ramp * np.nan]), "has other values"),
        "a threshold of 1": (lambda m: m.ground(ramp, ["effusion"], threshold=1.0), "must lie between"),
    }


@pytest.mark.parametrize("mistake", mistakes())
def test_what_cannot_be_is_told_in_one_sentence(model, mistake):
    from mmil_cli.errors import UsageError

    call, sentence = mistakes()[mistake]
    with pytest.raises(UsageError, match=sentence):
        call(model)


def test_a_blank_array_is_no_film(model):
    from mmil_cli.errors import RejectedRecord

    with pytest.raises(RejectedRecord, match="array 0 shows a single grey level"):
        model.embed_images([np.full((8, 8), 7, np.uint8)])


def test_means_of_bags_leave_padding_out_and_are_zero_for_empty_ones():
    import torch

    from mmil_cli.core.bags import RegionBag, SentenceBag, Sentences
    from mmil_cli.core.means import mean_regions, mean_sentences

    features = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]], [[1.0, 0.0]] * 3])
    mask = torch.tensor([[True, True, False], [False] * 3])
    found = mean_regions(RegionBag(features=features, mask=mask, grid=(3, 1)))
    torch.testing.assert_close(found, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 0.0]]))
    bag = SentenceBag(
        sentences=Sentences(features=features[0, :2]), index=torch.tensor([[0, 1], [1, -1], [-1, -1]])
    )
    found = mean_sentences(bag)
    torch.testing.assert_close(found, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0], [0.0, 0.0]]))
    nothing = SentenceBag(sentences=bag.sentences, index=torch.empty(2, 0, dtype=torch.int64))
    assert mean_sentences(nothing).tolist() == [[0, 0], [0, 0]]
