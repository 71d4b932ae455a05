"""One film encoded once, any number of phrases; which regions made their scores; what a film is unlike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_patches
import torch
from patch_fixtures import Patches
from PIL import Image

from mmil_cli.build import LoadedCheckpoint, load_checkpoint
from mmil_cli.stages.film import open_film
from mmil_cli.stages.film_notes import colour_share, film_notes
from mmil_cli.stages.ground import run
from mmil_cli.stages.ground_film import encode_film, ground_encoded, ground_film
from mmil_cli.stages.similarity import find_peak

PHRASES = [text for texts in tiny_patches.WORDS.values() for text in texts]


@pytest.fixture(scope="module")
def loaded(patches: Patches) -> LoadedCheckpoint:
    return load_checkpoint(patches.run, device="cpu")


def test_ten_phrases_encode_the_film_once(
    patches: Patches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmil_cli.core.model import DualEncoder

    encoded: list[int] = []
    plain = DualEncoder.encode_images

    def counting(self: DualEncoder, films: torch.Tensor, cover: torch.Tensor) -> object:
        encoded.append(len(films))
        return plain(self, films, cover)

    monkeypatch.setattr(DualEncoder, "encode_images", counting)
    phrases = [*PHRASES, "One more patch."]
    assert len(phrases) == 10
    run(patches.films / "test000.png", phrases, checkpoint=patches.run, out=tmp_path, device="cpu")
    assert encoded == [1]


def test_phrases_asked_alone_or_together_find_the_same(loaded: LoadedCheckpoint, patches: Patches) -> None:
    film = open_film(patches.films / "test000.png", loaded.embedder)
    together, _ = ground_film(loaded.embedder, film, PHRASES)
    encoded = encode_film(loaded.embedder, film)
    for phrase, found in zip(PHRASES, together, strict=True):
        (alone,) = ground_encoded(loaded.embedder, encoded, [phrase])
        assert alone.score == pytest.approx(found.score, rel=1e-4)
        np.testing.assert_allclose(alone.grid, found.grid, rtol=1e-4, atol=1e-5)
        assert alone.regions.critical == found.regions.critical


def test_a_large_film_has_the_peak_and_boxes_of_its_small_copy(
    loaded: LoadedCheckpoint, patches: Patches, tmp_path: Path
) -> None:
    path = patches.films / "test001.png"
    with Image.open(path) as image:
        image.resize((tiny_patches.WIDTH * 12, tiny_patches.HEIGHT * 12), Image.Resampling.BICUBIC).save(
            tmp_path / "large.png"
        )
    (small,), _ = ground_film(loaded.embedder, open_film(path, loaded.embedder), PHRASES[:1])
    (large,), grid = ground_film(
        loaded.embedder, open_film(tmp_path / "large.png", loaded.embedder), PHRASES[:1]
    )
    assert large.values.shape == (tiny_patches.HEIGHT * 12, tiny_patches.WIDTH * 12)
    exact = find_peak(large.values)
    assert exact is not None
    assert large.peak is not None
    assert small.peak is not None
    cell = tiny_patches.HEIGHT * 12 / grid[0]
    assert abs(large.peak.x - exact.x) + abs(large.peak.y - exact.y) < 0.1 * cell
    assert large.peak.value == pytest.approx(exact.value, abs=0.01)
    np.testing.assert_allclose(large.boxes[0].box, np.multiply(small.boxes[0].box, 12), atol=0.5 * cell)


def test_the_critical_region_and_the_weights_are_those_of_the_score(
    loaded: LoadedCheckpoint, patches: Patches
) -> None:
    film = open_film(patches.films / "test000.png", loaded.embedder)
    findings, (rows, columns) = ground_film(loaded.embedder, film, PHRASES)
    bag = loaded.embedder.films([film.fitted]).regions
    features, mask = bag.features[0].double(), bag.mask[0]
    sentences = loaded.embedder.sentences(PHRASES).features.double()
    gamma = float(loaded.embedder.model.score.terms["nl"].aggregator.gamma())  # type: ignore[union-attr]
    for number, finding in enumerate(findings):
        similarity = (features @ sentences[number]).masked_fill(~mask, -2.0)
        k = int(similarity.argmax())
        assert finding.regions.critical == divmod(k, columns)
        assert finding.regions.score == pytest.approx(float(similarity[k]), abs=1e-5)
        weights = (gamma * features @ features[k]).masked_fill(~mask, -torch.inf).softmax(dim=0)
        found = finding.regions.weights["nl"]
        np.testing.assert_allclose(found, weights.reshape(rows, columns), atol=1e-5)
        z = (weights[:, None] * features).sum(dim=0)
        nl = float(z / z.norm() @ sentences[number])
        assert finding.terms["nl"] == pytest.approx(nl, abs=1e-4)
        assert finding.regions.weights["lse"].sum() == pytest.approx(1, abs=1e-5)
        assert 1 <= finding.regions.effective("nl") <= rows * columns
        highest = finding.regions.highest("nl")
        assert highest[0][2] == pytest.approx(float(weights.max()), abs=1e-5)


def test_a_film_like_those_of_the_training_has_no_notes(loaded: LoadedCheckpoint, patches: Patches) -> None:
    assert film_notes(open_film(patches.films / "test000.png", loaded.embedder), loaded.recipe) == ()


def test_what_a_film_is_unlike_is_said(loaded: LoadedCheckpoint, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 256, (90, 80, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "colour.png")
    grey = np.repeat(generator.integers(0, 256, (90, 80, 1), dtype=np.uint8), 3, axis=2)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    blank = np.full((90, 80), 100, np.uint8)
    blank[:2, :2] = 255
    Image.fromarray(blank).save(tmp_path / "blank.png")
    Image.fromarray(grey[:25, :25, 0]).save(tmp_path / "small.png")
    said = {
        name: film_notes(open_film(tmp_path / f"{name}.png", loaded.embedder), loaded.recipe)
        for name in ("colour", "grey", "blank", "small")
    }
    assert said["grey"] == ()
    assert "is in colour" in said["colour"][0]
    assert "nearly blank" in said["blank"][0]
    assert "is enlarged" in said["small"][0]
    assert colour_share(tmp_path / "grey.png") == 0
    film = replace(open_film(tmp_path / "grey.png", loaded.embedder), view="LATERAL")
    assert "lateral film" in film_notes(film, loaded.recipe)[0]
    data = loaded.recipe.data.model_copy(update={"views": ("PA", "AP")})
    of_frontals = loaded.recipe.model_copy(update={"data": data})
    assert "the model has seen PA, AP only" in film_notes(film, of_frontals)[0]


def test_a_colour_dicom_is_told_from_a_grey_one(shared_data: Path) -> None:
    assert colour_share(shared_data / "dicom" / "chest_real" / "RG1_J2KI.dcm") == 0
