"""A trained model in use: films and sentences in, bags, scores and similarity maps out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mmil_cli.core.bags import RegionBag, SentenceBag, Sentences, join_sentences
from mmil_cli.core.model import DualEncoder, ImageFeatures
from mmil_cli.data.batches import TextUnit, as_texts, number_sentences
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.fit import Fit, FittedFilm, fit_film
from mmil_cli.data.tokenizer import SentenceTokenizer
from mmil_cli.data.transforms import normalise

SENTENCES_AT_ONCE = 256
FILMS_AT_ONCE = 32
IMAGES_A_SCORE = 512


@dataclass(frozen=True, kw_only=True)
class ImageContract:
    """How a film must be prepared for the model.

    Attributes:
        stored_side: longest side of a film in the dataset it learned from; raw films are first resized to it.
        size: side of the square it sees, in pixels.
        fit: how the film is fitted into the square.
        mean: subtracted from pixels in [0, 1].
        std: divides them then.
    """

    stored_side: int
    size: int
    fit: Fit
    mean: float
    std: float


class Embedder:
    """Runs a model for evaluation: float32, no randomness, results on the CPU.

    Args:
        model: towers and score.
        tokenizer: of the text tower.
        contract: how films are prepared.
        device: where the model runs.
        unit: what the text tower reads as one text.
    """

    def __init__(
        self,
        model: DualEncoder,
        tokenizer: SentenceTokenizer,
        contract: ImageContract,
        device: torch.device,
        *,
        unit: TextUnit = "sentence",
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.contract = contract
        self.device = device
        self.unit: TextUnit = unit

    def fit(self, pixels: np.ndarray) -> FittedFilm:
        """A stored film (uint8 [h, w]) fitted into the model's square."""
        return fit_film(pixels, size=self.contract.size, fit=self.contract.fit)

    @torch.inference_mode()
    def films(self, films: Sequence[FittedFilm]) -> ImageFeatures:
        """Regions and pooled features of some films, together."""
        self.model.eval()
        pixels = torch.from_numpy(np.stack([film.pixels for film in films])).to(self.device)
        cover = torch.tensor([film.cover for film in films], device=self.device)
        images = normalise(pixels, mean=self.contract.mean, std=self.contract.std)
        return _to_cpu(self.model.encode_images(images, cover))

    def dataset(
        self,
        dataset: StudyDataset,
        rows: Sequence[int],
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> ImageFeatures:
        """Regions and pooled features of rows of a dataset, in their order."""
        parts = []
        for start in range(0, len(rows), FILMS_AT_ONCE):
            chunk = rows[start : start + FILMS_AT_ONCE]
            parts.append(self.films([self.fit(dataset.pixels(int(row))) for row in chunk]))
            if on_progress:
                on_progress(start + len(chunk), len(rows))
        return join_features(parts)

    @torch.inference_mode()
    def sentences(self, sentences: Sequence[str]) -> Sentences:
        """Features of some texts, and of their words where the score reads words."""
        self.model.eval()
        parts = []
        for start in range(0, len(sentences), SENTENCES_AT_ONCE):
            tokens, mask = self.tokenizer(sentences[start : start + SENTENCES_AT_ONCE])
            encoded = self.model.encode_sentences(
                torch.from_numpy(tokens).to(self.device), torch.from_numpy(mask).to(self.device)
            )
            parts.append(encoded.to(torch.device("cpu")))
        return join_sentences(parts)

    def reports(self, reports: Sequence[Sequence[str]]) -> SentenceBag:
        """Reports, each a sequence of sentences, as a bag; every distinct text is encoded once."""
        distinct, index = number_sentences([as_texts(report, unit=self.unit) for report in reports])
        return SentenceBag(sentences=self.sentences(distinct), index=torch.from_numpy(index))

    @torch.inference_mode()
    def logits(self, regions: RegionBag, reports: SentenceBag) -> Tensor:
        """The score that training learned, of every image with every report [B, R], in blocks of images."""
        there = reports.to(self.device)
        blocks = [self.model.score.logits(block, there).cpu() for block in self._blocks(regions)]
        return torch.cat(blocks)

    @torch.inference_mode()
    def maps(self, regions: RegionBag, sentences: Sentences) -> Tensor:
        """The score's map of each text on the grid [B, U, rows, columns]; NaN where there is no film."""
        blocks = []
        for block in self._blocks(regions):
            scores = self.model.score.region_maps(block, sentences.to(self.device))
            scores = scores.masked_fill(~block.mask.unsqueeze(-1), torch.nan).transpose(1, 2)  # [B, U, N]
            blocks.append(scores.unflatten(2, block.grid).cpu())
        return torch.cat(blocks)

    def _blocks(self, regions: RegionBag) -> Iterator[RegionBag]:
        for start in range(0, len(regions.features), IMAGES_A_SCORE):
            yield regions[start : start + IMAGES_A_SCORE].to(self.device)


def join_features(parts: Sequence[ImageFeatures]) -> ImageFeatures:
    """Features of several batches as one."""
    return ImageFeatures(
        regions=replace(
            parts[0].regions,
            features=torch.cat([part.regions.features for part in parts]),
            mask=torch.cat([part.regions.mask for part in parts]),
        ),
        pooled=torch.cat([part.pooled for part in parts]),
    )


def _to_cpu(features: ImageFeatures) -> ImageFeatures:
    return ImageFeatures(regions=features.regions.to(torch.device("cpu")), pooled=features.pooled.cpu())
