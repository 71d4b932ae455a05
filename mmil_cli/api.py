"""A trained model in a few lines of Python: films and texts in, NumPy out.

    import mmil_cli

    model = mmil_cli.load("runs/first")
    model.score(["film.dcm"], ["left pleural effusion", "no pleural effusion"])

Everything here is what the commands do: `score` is that of `mmil retrieve`, `ground` that of `mmil ground`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmil_cli.build import LoadedCheckpoint, load_checkpoint
from mmil_cli.checkpoint import Card, find_checkpoint
from mmil_cli.config.recipe import Recipe
from mmil_cli.core.means import mean_regions, mean_sentences
from mmil_cli.core.model import ImageFeatures
from mmil_cli.data.checks import refuse_blank
from mmil_cli.data.images import Film
from mmil_cli.errors import UsageError
from mmil_cli.inference import FILMS_AT_ONCE, Embedder, join_features
from mmil_cli.stages.film import OpenedFilm, open_film, prepare_film
from mmil_cli.stages.gallery import ReportScorer
from mmil_cli.stages.ground import PhraseFinding, check_phrases, check_smooth, ground_film
from mmil_cli.stages.query import read_text
from mmil_cli.stages.similarity import DEFAULT_THRESHOLD, check_threshold

FilmLike = str | Path | NDArray[np.generic]
"""A DICOM, PNG or JPEG file, or a film as displayed (large is white), [H, W]: uint8, or floats in [0, 1]."""

TextLike = str | Sequence[str]
"""A phrase or a report, split into sentences as `mmil retrieve --text` does; or its sentences."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageEmbeddings:
    """B films as the model sees them, float32.

    Attributes:
        pooled: mean of the encoder's own features over the film [B, C], before projection; for probes.
        embedding: mean of the projected regions, of length 1 [B, D]; beside texts, for an index or a plot.
        regions: projected regions, each of length 1 [B, N, D], row by row of the grid.
        mask: True where the region shows film [B, N].
        grid: rows and columns of the regions.
    """

    pooled: NDArray[np.float32]
    embedding: NDArray[np.float32]
    regions: NDArray[np.float32]
    mask: NDArray[np.bool_]
    grid: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class TextEmbeddings:
    """R texts as the model reads them, float32.

    Attributes:
        embedding: mean of each text's sentences, of length 1 [R, D]; of one sentence, that sentence.
        sentences: features of the U distinct sentences, each of length 1 [U, D].
        index: the rows of `sentences` that each text holds, int64 [R, M]; -1 pads.
        unknown_words: share of each text's tokens that the model's vocabulary does not know [R].
    """

    embedding: NDArray[np.float32]
    sentences: NDArray[np.float32]
    index: NDArray[np.int64]
    unknown_words: NDArray[np.float32]


class Model:
    """A checkpoint ready for use; `load` makes one.

    Attributes:
        recipe: it was trained with.
        card: where it comes from and what it expects.
        folder: of the checkpoint.
    """

    def __init__(self, loaded: LoadedCheckpoint) -> None:
        self._embedder: Embedder = loaded.embedder
        self.recipe: Recipe = loaded.recipe
        self.card: Card = loaded.checkpoint.card
        self.folder: Path = loaded.checkpoint.folder

    def embed_images(self, films: Sequence[FilmLike]) -> ImageEmbeddings:
        """Features of some films, in their order.

        Args:
            films: at least one; files or arrays.

        Raises:
            RejectedRecord: a file gives no film, or an array shows nothing.
            UsageError: no film, or an array that is no film.
        """
        found = self._films(films)
        return ImageEmbeddings(
            pooled=found.pooled.numpy(),
            embedding=mean_regions(found.regions).numpy(),
            regions=found.regions.features.numpy(),
            mask=found.regions.mask.numpy(),
            grid=found.regions.grid,
        )

    def embed_texts(self, texts: Sequence[TextLike]) -> TextEmbeddings:
        """Features of some texts, in their order; each distinct sentence is encoded once.

        Args:
            texts: at least one.

        Raises:
            UsageError: no text, or one without words.
        """
        reports = _reports(texts)
        bag = self._embedder.reports(reports)
        unknown = [self._embedder.tokenizer.unknown_share(report) for report in reports]
        return TextEmbeddings(
            embedding=mean_sentences(bag).numpy(),
            sentences=bag.sentences.features.numpy(),
            index=bag.index.numpy(),
            unknown_words=np.array(unknown, np.float32),
        )

    def score(self, films: Sequence[FilmLike], texts: Sequence[TextLike]) -> NDArray[np.float32]:
        """The score of every film with every text, float32 [B, R]: what `mmil retrieve` ranks by.

        It compares between films and texts of one model only.

        Args:
            films: at least one; files or arrays.
            texts: at least one.

        Raises:
            RejectedRecord: a file gives no film, or an array shows nothing.
            UsageError: no film or text, an array that is no film, or a text without words.
        """
        scorer = ReportScorer(self._embedder, _reports(texts))
        return scorer.scores(self._films(films))

    def ground(
        self,
        film: FilmLike,
        phrases: Sequence[str],
        *,
        threshold: float = DEFAULT_THRESHOLD,
        smooth: float = 0.0,
    ) -> tuple[PhraseFinding, ...]:
        """Where in a film the model finds each phrase, in their order: map, peak, boxes and score.

        `values` of a finding is the map, float32 [H, W] over the film's own pixels, NaN where the model did
        not look.

        Args:
            film: a file or an array.
            phrases: at least one; each is taken as a report of one sentence.
            threshold: how far above the map's median, towards its peak, a box begins, in (0, 1).
            smooth: sigma of a Gaussian over the map, in regions; 0 for none.

        Raises:
            RejectedRecord: the file gives no film, or the array shows nothing.
            UsageError: a phrase without words, an array that is no film, a threshold or sigma that cannot be.
        """
        if isinstance(phrases, str):
            raise UsageError(f"phrases are a list; for one phrase give [{phrases!r}]")
        check_phrases(phrases)
        check_threshold(threshold)
        check_smooth(smooth)
        opened = self._open(film, number=0)
        return ground_film(self._embedder, opened, phrases, threshold=threshold, smooth=smooth)[0]

    def _films(self, films: Sequence[FilmLike]) -> ImageFeatures:
        if isinstance(films, str | Path) or len(films) == 0:
            raise UsageError("films are a list of at least one file or array; for one film give [film]")
        parts = []
        for start in range(0, len(films), FILMS_AT_ONCE):
            some = films[start : start + FILMS_AT_ONCE]
            opened = [self._open(film, number=start + place) for place, film in enumerate(some)]
            parts.append(self._embedder.films([film.fitted for film in opened]))
        return join_features(parts)

    def _open(self, film: FilmLike, *, number: int) -> OpenedFilm:
        if isinstance(film, str | Path):
            return open_film(Path(film), self._embedder)
        name = Path(f"array {number}")
        shown = _displayed(film, name)
        refuse_blank(shown, name)
        return prepare_film(Film(shown), self._embedder, path=name)


def load(checkpoint: str | Path | None = None, *, device: str = "auto") -> Model:
    """The model of a checkpoint or run folder.

    Args:
        checkpoint: the folder; None for what commands take: MMIL_CHECKPOINT, else the newest in ./runs.
        device: auto, cpu or cuda.

    Raises:
        CheckpointError: the folder is incomplete or damaged.
        UsageError: there is no checkpoint, or no such device.
    """
    path, _ = find_checkpoint(None if checkpoint is None else Path(checkpoint))
    return Model(load_checkpoint(path, device=device))


def _reports(texts: Sequence[TextLike]) -> list[list[str]]:
    if isinstance(texts, str) or len(texts) == 0:
        raise UsageError("texts are a list of at least one text; for one text give [text]")
    return [_sentences(text) for text in texts]


def _sentences(text: TextLike) -> list[str]:
    if isinstance(text, str):
        return read_text(text)
    check_phrases(text)
    return list(text)


def _displayed(array: NDArray[np.generic], name: Path) -> NDArray[np.float32]:
    """An array as a film: float32 [H, W] in [0, 1]."""
    values = np.asarray(array)
    what = f"{name}: a film is an array [H, W] of uint8, or of floats in [0, 1] with 1 for white"
    if values.ndim != 2 or values.size == 0:
        raise UsageError(f"{what}, not of shape {list(values.shape)}; give one channel and one film an array")
    if values.dtype == np.uint8:
        return np.multiply(values, np.float32(1 / 255), dtype=np.float32)
    if not np.issubdtype(values.dtype, np.floating):
        raise UsageError(f"{what}, not of {values.dtype}; bring the values you want shown into [0, 1]")
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise UsageError(f"{what}; this one has other values: bring what you want shown into [0, 1]")
    return values.astype(np.float32)
