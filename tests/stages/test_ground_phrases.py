"""Grounding measured on a table of phrases and boxes, beside its controls."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_patches
import torch
from patch_fixtures import Patches
from PIL import Image

from mmil_cli.build import load_checkpoint, random_twin
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.phrases import Phrase, read_phrases
from mmil_cli.data.pseudonyms import Pseudonyms
from mmil_cli.data.sources.options import SourceOptions
from mmil_cli.errors import DataError, UsageError
from mmil_cli.metrics.grounding import score_map
from mmil_cli.metrics.regions import boxes_mask
from mmil_cli.stages import preprocess
from mmil_cli.stages.cases import read_cases
from mmil_cli.stages.film import open_film
from mmil_cli.stages.ground import ground_film
from mmil_cli.stages.ground_phrases import PhraseResult, run
from mmil_cli.stages.phrase_samples import (
    centre_prior,
    select,
    shuffled_phrases,
)
from mmil_cli.stages.phrase_scores import CONTROLS, MODEL


@pytest.fixture(scope="module")
def result(patches: Patches, tmp_path_factory: pytest.TempPathFactory) -> PhraseResult:
    out = tmp_path_factory.mktemp("ground")
    return run(patches.phrases, patches.dataset, checkpoint=patches.run, out=out, bootstrap=300, device="cpu")


def some_phrases(*kinds: tuple[str, str]) -> list[Phrase]:
    """Phrases of (film, category)."""
    return [
        Phrase(film, kind, f"{kind} of {film}", ((2.0, 3.0, 4.0, 5.0),), 20, 30, "test", row)
        for row, (film, kind) in enumerate(kinds)
    ]


def rewrite(source: Path, target: Path, **values: str) -> Path:
    """The table with some columns overwritten in every row of the test split."""
    with source.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        if row["split"] == "test":
            row.update(values)
    tiny_patches.write_csv(target, tiny_patches.BOX_COLUMNS, [tuple(row.values()) for row in rows])
    return target


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("metric", ["cnr_signed", "pointing", "pixel_auroc"])
def test_the_model_lies_above_every_control_by_more_than_the_interval(
    result: PhraseResult, control: str, metric: str
) -> None:
    assert result.differences[control].micro.metrics[metric].low > 0


def test_chance_is_the_share_of_the_film_in_the_box(result: PhraseResult) -> None:
    chance = result.tables["chance"].micro.metrics
    share = tiny_patches.PATCH**2 / (tiny_patches.HEIGHT * tiny_patches.WIDTH)
    assert chance["pointing"].value == pytest.approx(share, rel=0.1)  # boxes are rounded to stored pixels
    assert chance["pixel_auroc"].value == 0.5
    assert chance["cnr"].value == 0


def test_calibrated_maps_hit_boxes_better_than_priors(result: PhraseResult, patches: Patches) -> None:
    assert result.num_calibration == sum(p.split == "validate" for p in read_phrases(patches.phrases))
    for control in ("random weights", "shuffled", "prior", "centre"):
        assert result.differences[control].micro.metrics["miou_calibrated"].low > 0, control
    constant = result.calibrations["chance"]
    assert constant is not None
    share = tiny_patches.PATCH**2 / (tiny_patches.HEIGHT * tiny_patches.WIDTH)
    assert constant.probability(np.zeros(1))[0] == pytest.approx(share, rel=0.15)


def test_random_weights_are_the_models_before_training(result: PhraseResult, patches: Patches) -> None:
    random = result.tables["random weights"].micro.metrics
    assert random["pixel_auroc"].high < result.tables["model"].micro.metrics["pixel_auroc"].low
    loaded = load_checkpoint(patches.run, device="cpu")
    state = torch.get_rng_state()
    first, again, other = (random_twin(loaded.checkpoint, loaded.embedder, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [next(iter(twin.model.parameters())) for twin in (first, again, other, loaded.embedder)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_the_cases_of_phrases_average_to_the_figures(result: PhraseResult) -> None:
    cases = read_cases(result.cases)
    found = cases["model", "pointing"]
    assert found.value.mean() == pytest.approx(result.tables["model"].micro.metrics["pointing"].value)
    assert len(set(found.case_id)) == result.num_phrases
    assert len(set(found.patient_id)) == result.num_patients


def test_masks_and_shares_give_what_boxes_give(
    result: PhraseResult, patches: Patches, tmp_path: Path
) -> None:
    phrases = read_phrases(patches.phrases)
    masks = [("image_id", "category_name", "label_text", "mask", "split")]
    shares = [("image_id", "cls", "label_text", "x0", "y0", "x1", "y1", "split")]
    for number, phrase in enumerate(phrases):
        mask = np.zeros((phrase.height, phrase.width), np.uint8)
        for x, y, w, h in phrase.boxes:
            mask[int(y) : int(y + h), int(x) : int(x + w)] = 255
            corners = (x / phrase.width, y / phrase.height, (x + w) / phrase.width, (y + h) / phrase.height)
            shares.append((phrase.image_id, phrase.category, phrase.text, *map(str, corners), phrase.split))
        Image.fromarray(mask).save(tmp_path / f"{number}.png")
        masks.append((phrase.image_id, phrase.category, phrase.text, f"{number}.png", phrase.split))
    # a mask pixel that is half inside counts as inside, a box edge is rounded: they differ by half a pixel
    for name, rows, near in (("masks", masks, 0.1), ("shares", shares, 0.01)):
        tiny_patches.write_csv(tmp_path / f"{name}.csv", rows[0], rows[1:])
        table, out = tmp_path / f"{name}.csv", tmp_path / name
        again = run(table, patches.dataset, checkpoint=patches.run, out=out, bootstrap=20, device="cpu")
        for metric in ("pointing", "cnr_signed", "miou_calibrated", "pixel_auroc"):
            value = again.tables["model"].micro.metrics[metric].value
            assert value == pytest.approx(result.tables["model"].micro.metrics[metric].value, rel=near)
        assert again.num_prior == result.num_prior


def test_a_mask_of_another_size_is_refused(patches: Patches, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.ones((75, 52), bool))
    table = tmp_path / "masks.csv"
    tiny_patches.write_csv(table, ("image_id", "category_name", "mask"), [("test000", "Bright", "mask.npy")])
    with pytest.raises(DataError, match="has a mask of 52 x 75, test000 has 105 x 150 pixels"):
        run(table, patches.dataset, checkpoint=patches.run, out=tmp_path)


def test_boxes_outside_a_film_of_a_size_the_table_does_not_tell_are_refused(
    patches: Patches, tmp_path: Path
) -> None:
    table = tmp_path / "rsna.csv"
    columns = ("patientId", "x", "y", "width", "height", "Target")
    tiny_patches.write_csv(table, columns, [("test000", 500, 2, 30, 40, 1)])
    with pytest.raises(DataError, match=r"the box \(500, 2, 30, 40\) lies outside its film of 105 x 150"):
        run(table, patches.dataset, checkpoint=patches.run, out=tmp_path)


def test_counts_and_files_tell_what_was_evaluated(result: PhraseResult, patches: Patches) -> None:
    table = read_phrases(patches.phrases)
    tested = [phrase for phrase in table if phrase.split == "test"]
    assert (result.num_phrases, result.num_films) == (len(tested), tiny_patches.NUM_FILMS["test"])
    assert result.num_patients == tiny_patches.NUM_FILMS["test"] // 2
    assert result.num_prior == result.num_other_splits == len(table) - len(tested)
    assert result.num_unknown == 0
    record = json.loads(result.record.read_text())
    assert set(record["systems"]) == {MODEL, *CONTROLS}
    assert record["split"] == "test"
    assert record["options"]["phrases"] == "phrases.csv"
    assert record["systems"]["model"]["findings"]["Bright"]["num_samples"] == sum(
        phrase.category == "Bright" for phrase in tested
    )
    with result.samples.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["phrase"] for row in rows] == [phrase.text for phrase in tested]
    mean = np.mean([float(row["model_pointing"]) for row in rows])
    assert mean == pytest.approx(result.tables["model"].micro.metrics["pointing"].value, abs=1e-5)


def test_stored_resolution_agrees_with_the_original_one(
    result: PhraseResult,
    patches: Patches,
) -> None:
    embedder = load_checkpoint(patches.run, device="cpu").embedder
    phrase = next(phrase for phrase in read_phrases(patches.phrases) if phrase.split == "test")
    film = open_film(patches.films / f"{phrase.image_id}.png", embedder)
    ((finding,), _) = ground_film(embedder, film, [phrase.text])
    exact = score_map(finding.values, boxes_mask(phrase.boxes, *film.pixels.shape))
    with result.samples.open(newline="") as handle:
        row = next(csv.DictReader(handle))
    assert float(row["model_pixel_auroc"]) == pytest.approx(exact.pixel_auroc, abs=0.02)
    assert float(row["model_cnr_signed"]) == pytest.approx(exact.cnr_signed, rel=0.1)


def test_smoothing_and_seed_change_the_figures(
    result: PhraseResult,
    patches: Patches,
    tmp_path: Path,
) -> None:
    other = run(
        patches.phrases,
        patches.dataset,
        checkpoint=patches.run,
        out=tmp_path,
        smooth=1.5,
        seed=1,
        bootstrap=50,
        device="cpu",
    )
    assert other.tables["model"].micro.metrics["cnr"] != result.tables["model"].micro.metrics["cnr"]
    assert (
        other.tables["prior"].micro.metrics["cnr"].value == result.tables["prior"].micro.metrics["cnr"].value
    )
    shuffled = [table.tables["shuffled"].micro.metrics["cnr"].value for table in (result, other)]
    assert shuffled[0] != shuffled[1]


def test_without_a_split_the_priors_are_of_the_other_patients(patches: Patches, tmp_path: Path) -> None:
    everything = run(
        patches.phrases,
        patches.dataset,
        checkpoint=patches.run,
        out=tmp_path,
        split=None,
        bootstrap=20,
        device="cpu",
    )
    assert everything.num_prior == 0
    assert any("of the other patients" in note for note in everything.notes)
    for prior in ("prior", "finding prior"):
        assert everything.tables[prior].micro.metrics["pixel_auroc"].value > 0.6


def test_phrases_of_films_that_are_not_there_are_counted(patches: Patches, tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    table.write_text(patches.phrases.read_text() + "elsewhere,Dark,Dark lucency.,e.png,1,2,3,4,50,60,test\n")
    dataset = StudyDataset.open(patches.dataset)
    selection = select(read_phrases(table), dataset, split="test", seed=0, table=table)
    assert selection.num_unknown == 1
    assert all(phrase.image_id != "elsewhere" for phrase in selection.elsewhere)


def test_a_table_of_other_films_is_refused(patches: Patches, tmp_path: Path) -> None:
    table = tmp_path / "others.csv"
    tiny_patches.write_csv(
        table, tiny_patches.BOX_COLUMNS, [("x", "Dark", "Dark lucency.", "x.png", 1, 2, 3, 4, 50, 60, "test")]
    )
    with pytest.raises(DataError, match="none of the 1 phrases"):
        run(table, patches.dataset, checkpoint=patches.run, out=tmp_path)


def test_a_table_that_contradicts_the_films_is_refused(patches: Patches, tmp_path: Path) -> None:
    table = rewrite(patches.phrases, tmp_path / "wrong.csv", image_width="210")
    with pytest.raises(DataError, match=r"row \d+ says 210 x 150, test000 has 105 x 150 pixels"):
        run(table, patches.dataset, checkpoint=patches.run, out=tmp_path)


def test_an_unknown_split_is_refused(patches: Patches, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no split 'held-out'"):
        run(patches.phrases, patches.dataset, checkpoint=patches.run, out=tmp_path, split="held-out")


def test_the_location_prior_looks_at_no_evaluated_film_or_patient(patches: Patches) -> None:
    dataset = StudyDataset.open(patches.dataset)
    phrases = read_phrases(patches.phrases)
    # a film of the training split that belongs to an evaluated patient would be a leak, whatever its split
    selection = select(phrases, dataset, split="test", seed=0, table=patches.phrases)
    evaluated = {sample.phrase.image_id for sample in selection.samples}
    assert evaluated.isdisjoint(phrase.image_id for phrase in selection.elsewhere)
    # a film that neither dataset nor table places in another split is not used
    nowhere = [replace(phrase, image_id=f"new-{phrase.image_id}", split="") for phrase in phrases]
    selection = select([*phrases, *nowhere], dataset, split="test", seed=0, table=patches.phrases)
    assert not any(phrase.image_id.startswith("new-") for phrase in selection.elsewhere)
    elsewhere = [replace(phrase, split="val") for phrase in nowhere]
    selection = select([*phrases, *elsewhere], dataset, split="test", seed=0, table=patches.phrases)
    assert any(phrase.image_id.startswith("new-") for phrase in selection.elsewhere)


def test_a_shuffled_phrase_names_nothing_in_the_film() -> None:
    phrases = some_phrases(
        *[(film, kind) for film in "abcdef" for kind in ("Edema", "Mass")], ("g", "Hernia")
    )
    for seed in range(20):
        drawn = shuffled_phrases(phrases, seed=seed)
        assert set(drawn[:-1]) == {"Hernia of g"}
        assert drawn[-1] in {phrase.text for phrase in phrases[:-1]}
    assert len({tuple(shuffled_phrases(phrases, seed=seed)) for seed in range(20)}) > 3


def test_without_another_category_there_is_nothing_to_shuffle() -> None:
    assert shuffled_phrases(some_phrases(("a", "Edema"), ("b", "Edema")), seed=0) == [None, None]


def test_the_centre_prior_peaks_in_the_centre() -> None:
    prior = centre_prior(41, 31)
    assert np.unravel_index(prior.argmax(), prior.shape) == (20, 15)
    assert prior.max() == 1
    assert prior[0, 0] == prior[-1, -1] == pytest.approx(np.exp(-4), rel=0.3)


NAMES = Pseudonyms(b"a key that is made for tests alone")


@pytest.fixture(scope="module")
def named(patches: Patches, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("named") / "data"
    preprocess.run(patches.films / "table.csv", out, source_options=SourceOptions(pseudonyms=NAMES), side=75)
    return out


class TestPseudonyms:
    """The phrases of a table by the source's own ids, in a dataset that has other ones."""

    def test_under_the_key_they_are_evaluated_as_before(
        self, result: PhraseResult, patches: Patches, named: Path, tmp_path: Path
    ) -> None:
        options = {"checkpoint": patches.run, "out": tmp_path, "bootstrap": 20, "device": "cpu"}
        found = run(patches.phrases, named, pseudonyms=NAMES, **options)
        assert found.num_phrases == result.num_phrases
        for metric in ("pointing", "cnr_signed"):
            before = result.tables["model"].micro.metrics[metric].value
            assert found.tables["model"].micro.metrics[metric].value == pytest.approx(before)
        assert "test000" not in found.samples.read_text()

    @pytest.mark.parametrize(
        ("key", "message"),
        [(None, "are pseudonyms; give its key"), (b"x" * 32, "made with another key; give that one")],
    )
    def test_without_the_key_they_are_refused(
        self, patches: Patches, named: Path, tmp_path: Path, key: bytes | None, message: str
    ) -> None:
        names = Pseudonyms(key) if key else None
        with pytest.raises(UsageError, match=message):
            run(patches.phrases, named, checkpoint=patches.run, out=tmp_path, pseudonyms=names, device="cpu")

    def test_a_key_for_plain_ids_is_refused(self, patches: Patches, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="are no pseudonyms; leave it out"):
            run(patches.phrases, patches.dataset, checkpoint=patches.run, out=tmp_path,
                pseudonyms=NAMES, device="cpu")  # fmt: skip
