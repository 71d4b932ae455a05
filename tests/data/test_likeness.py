"""Films alike but for brightness, contrast or size are found among generated films, and no others."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.likeness import (
    ALIKE_COARSE,
    ALIKE_FINE,
    DESCRIPTOR_LENGTH,
    alike_pairs,
    descriptor,
    fine_structure,
    likeness_to_mean,
)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Generated films of 256 pixels; those of one patient show the same anatomy."""
    from mmil_cli.stages import phantom, preprocess

    folder = tmp_path_factory.mktemp("films")
    phantom.run(folder / "studies", studies=50, side=256, workers=1, seed=21)
    preprocess.run(folder / "studies", folder / "data")
    dataset = StudyDataset.open(folder / "data")
    return [dataset.pixels(index) for index in range(len(dataset))]


def levels(values: np.ndarray) -> np.ndarray:
    return values.clip(0, 255).astype(np.uint8)


def resized(film: np.ndarray, scale: float) -> np.ndarray:
    height, width = film.shape
    size = round(width * scale), round(height * scale)
    return np.asarray(Image.fromarray(film).resize(size, Image.Resampling.BICUBIC))


def as_jpeg(film: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(film).save(buffer, "jpeg", quality=75)
    return np.asarray(Image.open(buffer))


def equalised(film: np.ndarray) -> np.ndarray:
    shares = np.cumsum(np.bincount(film.ravel(), minlength=256)) / film.size
    return levels(255 * shares)[film]


CHANGES = {
    "brighter": lambda film: levels(film + 25.0),
    "darker": lambda film: levels(film - 25.0),
    "flat": lambda film: levels((film - 128.0) * 0.6 + 128),
    "steep": lambda film: levels((film - 128.0) * 1.3 + 128),
    "gamma down": lambda film: levels(255 * (film / 255) ** 0.6),
    "gamma up": lambda film: levels(255 * (film / 255) ** 1.6),
    "half size": lambda film: resized(film, 0.5),
    "larger": lambda film: resized(film, 1.6),
    "jpeg": as_jpeg,
    "equalised": equalised,
    "flat and half size": lambda film: resized(levels(film * 0.7 + 40), 0.5),
}


def is_pair(one: np.ndarray, other: np.ndarray) -> bool:
    coarse = float(descriptor(one).astype(float) @ descriptor(other).astype(float))
    return coarse > ALIKE_COARSE and float(fine_structure(one) @ fine_structure(other)) > ALIKE_FINE


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_changed_copies_are_found(films: list[np.ndarray], change) -> None:
    recall = np.mean([is_pair(film, change(film)) for film in films])
    assert recall >= 0.98


def test_no_two_different_films_are_taken_for_one(films: list[np.ndarray]) -> None:
    pairs = [(a, b) for a in range(len(films)) for b in range(a)]
    assert len(pairs) > 1500
    assert [pair for pair in pairs if is_pair(films[pair[0]], films[pair[1]])] == []


def test_pairs_are_those_of_a_slow_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmil_cli.data import likeness

    monkeypatch.setattr(likeness, "_BLOCK", 7)
    rows = np.random.default_rng(0).normal(size=(30, 6))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    exact = rows.astype(np.float32)
    slow = {(a, b) for a in range(30) for b in range(a + 1, 30) if exact[a] @ exact[b] > 0.5}
    found = np.concatenate(list(alike_pairs(rows, least=0.5)))
    assert {(int(a), int(b)) for a, b, _ in found} == slow
    assert len(found) == len(slow) > 10
    assert found[:, 2].min() > 0.5


def test_the_negative_of_a_film_has_the_negative_descriptor(films: list[np.ndarray]) -> None:
    assert np.allclose(descriptor(255 - films[0]), -descriptor(films[0]), atol=1e-3)


def test_a_negative_is_unlike_the_others(films: list[np.ndarray]) -> None:
    rows = np.stack([descriptor(film) for film in films])
    assert likeness_to_mean(rows).min() > 0
    rows[3] *= -1
    assert likeness_to_mean(rows).argmin() == 3


def test_a_film_of_one_level_is_like_nothing() -> None:
    flat = np.full((20, 30), 7, np.uint8)
    assert descriptor(flat).tolist() == [0] * DESCRIPTOR_LENGTH
    assert not fine_structure(flat).any()
    assert not is_pair(flat, flat)


def test_nothing_has_no_pairs() -> None:
    nothing = np.zeros((0, DESCRIPTOR_LENGTH), np.float16)
    assert list(alike_pairs(nothing)) == []
    assert likeness_to_mean(nothing).shape == (0,)


def test_real_films(shared_data: Path) -> None:
    paths = sorted((shared_data / "covid_cxr/images").iterdir())[:60]
    real = [np.asarray(Image.open(path).convert("L").resize((256, 256))) for path in paths]
    for name in ("brighter", "flat", "half size", "equalised", "jpeg"):
        assert np.mean([is_pair(film, CHANGES[name](film)) for film in real]) >= 0.95, name
