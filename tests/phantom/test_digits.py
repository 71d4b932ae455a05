"""Mosaics of digits: what is said is so, boxes hold the ink, and no scan is in two splits."""

import csv
import re
from collections import Counter

import numpy as np
import pytest


@pytest.fixture(scope="module")
def mosaics():
    from mmil_cli.phantom.digits import draw_mosaics

    return list(draw_mosaics(200, seed=1))


def test_splits_share_no_scan_of_a_digit(mosaics):
    """Of all that could be drawn, not of these alone."""
    from mmil_cli.phantom.digits import SPLITS, _digits, _scans_of

    scans = {split: np.concatenate(_scans_of(split, 1)) for split in SPLITS}
    everything = np.concatenate(list(scans.values()))
    assert len(np.unique(everything)) == len(everything) == len(_digits()[0]) == 1797
    assert Counter(mosaic.split for mosaic in mosaics) == {"train": 140, "validate": 20, "test": 40}
    for mosaic in mosaics:
        assert set(mosaic.scans) <= set(scans[mosaic.split].tolist())
        assert [int(_digits()[1][scan]) for scan in mosaic.scans] == [d.digit for d in mosaic.digits]


def test_boxes_hold_the_ink_of_their_cell(mosaics):
    from mmil_cli.phantom.digits import CELL, SIDE

    for mosaic in mosaics[:50]:
        assert mosaic.pixels.shape == (SIDE, SIDE)
        for digit, (x, y, width, height) in zip(mosaic.digits, mosaic.boxes, strict=True):
            assert digit.row * CELL <= y < y + height <= (digit.row + 1) * CELL
            assert digit.column * CELL <= x < x + width <= (digit.column + 1) * CELL
            cell = np.zeros_like(mosaic.pixels, dtype=bool)
            cell[digit.row * CELL :, digit.column * CELL :][:CELL, :CELL] = True
            inside = np.zeros_like(cell)
            inside[y : y + height, x : x + width] = True
            bright = mosaic.pixels > 130
            assert (bright & inside).any()
            assert (bright & cell & ~inside).sum() <= 0.1 * (bright & inside).sum()


def test_every_sentence_of_a_caption_is_true(mosaics):
    names, relations, placed, absent = 0, 0, 0, 0
    for mosaic in mosaics:
        cells = {digit.name: digit for digit in mosaic.digits}
        for sentence in re.findall(r"[^.]+\.", mosaic.caption):
            text = sentence.strip().lower().rstrip(".")
            if related := re.search(r"(\w+) (?:is )?(right of|left of|above|below) the (\w+)$", text):
                first, where, second = related.groups()
                a, b = cells[first], cells[second]
                along = a.column - b.column if where in ("right of", "left of") else a.row - b.row
                across = a.row - b.row if where in ("right of", "left of") else a.column - b.column
                assert along == (1 if where in ("right of", "below") else -1)
                assert across == 0
                relations += 1
            elif text.startswith(("no ", "there is no ")):
                assert not set(text.split()) & set(cells)
                absent += 1
            else:
                (name,) = set(text.split()) & set(cells)
                names += 1
                if place := re.search("(upper|lower) (left|right)", text):
                    assert place.group() == cells[name].place
                    placed += 1
    assert relations == absent == len(mosaics)
    assert 0.5 < placed / names < 0.8
    assert 1.5 < names / len(mosaics) < 3.5  # never all is told


def test_articles_and_prompts_are_those_of_captions(mosaics):
    from mmil_cli.config.prompts import load_prompts

    text = " ".join(mosaic.caption for mosaic in mosaics)
    assert re.search(r"\b[Aa]n eight\b", text)
    assert not re.search(r"\b[Aa] eight\b|\b[Aa]n (?!eight)", text)
    said = {sentence.strip() for sentence in re.findall(r"[^.]+\.", text)}
    prompts = [
        sentence for pair in load_prompts("digits").values() for sentence in (*pair.positive, *pair.negative)
    ]
    assert len(set(prompts) & said) > 0.6 * len(prompts)


def test_phrases_mean_one_digit_each_and_places_tell_nothing(mosaics):
    cells = Counter()
    for mosaic in mosaics:
        assert [said.category in ("place", "relation") for said in mosaic.statements] == [
            False,
            False,
            True,
            True,
        ]
        assert len({said.about for said in mosaic.statements}) == 4
        for said in mosaic.statements:
            digit = mosaic.digits[said.about]
            assert said.text.split()[1].rstrip(".") == digit.name
            if said.category not in ("place", "relation"):
                assert said.category == digit.name
                cells[digit.row, digit.column] += 1
    assert min(cells.values()) > 0.7 * max(cells.values())


def test_a_seed_and_a_place_give_one_mosaic_however_many_there_are(mosaics):
    from mmil_cli.phantom.digits import draw_mosaics

    fewer = list(draw_mosaics(100, seed=1))
    np.testing.assert_array_equal(fewer[0].pixels, mosaics[0].pixels)
    assert fewer[0].caption == mosaics[0].caption
    other = next(iter(draw_mosaics(100, seed=2)))
    assert other.caption != fewer[0].caption


def test_preprocess_reads_them_and_phrases_have_their_films(tmp_path):
    from mmil_cli.data.dataset import StudyDataset
    from mmil_cli.data.phrases import read_phrases
    from mmil_cli.phantom.digit_captions import DIGITS
    from mmil_cli.stages.study.digit_data import make

    told = []
    dataset, phrases = make(
        {"mosaics": 60}, tmp_path / "d", given=None, on_progress=lambda *counts: told.append(counts)
    )
    found = StudyDataset.open(dataset)
    assert found.info.label_names == DIGITS
    assert {split: len(found.indices(split)) for split in ("train", "validate", "test")} == {
        "train": 42,
        "validate": 6,
        "test": 12,
    }
    assert told[-1] == (60, 60)
    read = read_phrases(phrases)
    assert len(read) == 4 * 60
    assert {phrase.image_id for phrase in read} == set(found.column("image_id").tolist())
    with (tmp_path / "d" / "mosaics" / "mosaics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(sum(int(row[name]) for name in DIGITS) == 4 for row in rows)
    before = found.info.content_hash
    again, _ = make({"mosaics": 60}, tmp_path / "d", given=None, on_progress=lambda *counts: None)
    assert StudyDataset.open(again).info.content_hash == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"mosaics": 10}, "mosaics is 10"), ({"mosaic": 100}, "no setting 'mosaic'.*mosaics")],
)
def test_settings_that_do_not_fit_are_refused(settings, message, tmp_path):
    from mmil_cli.errors import UsageError
    from mmil_cli.stages.study.digit_data import check

    with pytest.raises(UsageError, match=message):
        check(settings, given=None)
    with pytest.raises(UsageError, match="cannot take their place"):
        check({}, given=tmp_path)
