"""How long one more phrase takes on a film that is encoded already."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mmil_cli.build import build_model, build_tokenizer, image_contract
from mmil_cli.config.load import load_recipe
from mmil_cli.data.film import Film
from mmil_cli.data.images import resize_film
from mmil_cli.inference import Embedder
from mmil_cli.stages.film import OpenedFilm
from mmil_cli.stages.ground_film import encode_film, ground_sentences
from mmil_cli.stages.measurement import Measurement

PHRASES = (
    "Large left pleural effusion.",
    "Moderate cardiomegaly.",
    "Right lower lobe consolidation.",
    "Small apical pneumothorax on the right.",
    "There is moderate pulmonary edema.",
    "A nodule in the left upper lobe.",
    "Left chest wall pacemaker.",
    "Bibasilar atelectasis.",
    "Healed fracture of a right rib.",
    "No acute cardiopulmonary process.",
)


@dataclass(frozen=True, kw_only=True)
class PhraseTime:
    """Of one phrase on one film.

    Attributes:
        film: width and height in pixels.
        grid: rows and columns of regions.
        milliseconds: median for score, map, peak and boxes of one phrase, film and phrase being encoded.
        film_milliseconds: to encode the film, for comparison.
        phrase_milliseconds: to encode a phrase.
    """

    film: tuple[int, int]
    grid: tuple[int, int]
    milliseconds: float
    film_milliseconds: float
    phrase_milliseconds: float


def time_phrases(*, quick: bool = False) -> PhraseTime:
    """The model of the `demo` recipe, untrained, on a film of 2,000 x 2,400 pixels."""
    width, height, rounds = (100, 120, 1) if quick else (2000, 2400, 10)
    embedder = _embedder()
    film = _film(embedder, width=width, height=height)
    encoded = encode_film(embedder, film)
    of_film = _median(lambda: encode_film(embedder, film), rounds)
    of_phrase, of_map = [], []
    for _ in range(rounds):
        for phrase in PHRASES:
            start = time.perf_counter()
            sentences = embedder.sentences([phrase])
            middle = time.perf_counter()
            ground_sentences(embedder, encoded, [phrase], sentences)
            of_phrase.append(middle - start)
            of_map.append(time.perf_counter() - middle)
    return PhraseTime(
        film=(width, height),
        grid=encoded.regions.grid,
        milliseconds=1000 * statistics.median(of_map),
        film_milliseconds=1000 * of_film,
        phrase_milliseconds=1000 * statistics.median(of_phrase),
    )


def one_more_phrase(*, quick: bool = False) -> Measurement:
    """As a row of `mmil bench evaluate`."""
    found = time_phrases(quick=quick)
    (width, height), (rows, columns) = found.film, found.grid
    return Measurement(
        name="one more phrase on an encoded film, beyond encoding the phrase",
        size=f"film of {width} x {height}, {rows} x {columns} regions",
        seconds=found.milliseconds / 1000,
        most_seconds=None if quick else 0.005,
        found=f"encoded in {found.film_milliseconds:.1f} ms, the phrase in {found.phrase_milliseconds:.1f}",
    )


def _embedder() -> Embedder:
    recipe = load_recipe("demo")
    tokenizer = build_tokenizer(recipe.text, PHRASES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(recipe, vocabulary_size=tokenizer.vocabulary_size)
    contract = image_contract(recipe.image, stored_side=512)
    return Embedder(model, tokenizer, contract, torch.device("cpu"), unit=recipe.text.unit)


def _film(embedder: Embedder, *, width: int, height: int) -> OpenedFilm:
    pixels = np.random.default_rng(0).random((height, width), dtype=np.float32)
    stored = resize_film(Film(pixels), side=embedder.contract.stored_side)
    fitted = embedder.fit(stored.pixels)
    return OpenedFilm(
        path=Path("generated"),
        pixels=np.rint(255 * pixels).astype(np.uint8),
        fitted=fitted,
        to_source=fitted.to_stored.then(stored.to_source),
        spacing_mm=None,
        view=None,
    )


def _median(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
