"""The dual encoder: films to bags of regions, sentences to vectors, and the score between them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mmil_cli.core.bags import RegionBag, Sentences, Words, join_sentences
from mmil_cli.core.caching import encode_in_lots
from mmil_cli.core.encoders.text import TextPool, pool_tokens, word_mask
from mmil_cli.core.lengths import CALL_ON_CPU, CALL_ON_GPU, length_groups, sentence_lengths
from mmil_cli.core.scores import Score


@dataclass(frozen=True, kw_only=True)
class ImageFeatures:
    """What the image tower gives for a batch of films.

    Attributes:
        regions: projected regions, for scores.
        pooled: mean of the encoder's own features over the film, before projection, for probes.
    """

    regions: RegionBag
    pooled: Float[Tensor, "image channel"]


class DualEncoder(nn.Module):
    """Two towers with their projections, and a score.

    Args:
        image_encoder: film [B, 1, H, W] to feature map [B, C, rows, columns]; its `cell_centre` says where
            in its cell a region looks.
        image_projection: C to D, L2-normalised.
        text_encoder: token ids and mask [U, T] to [U, T, C'].
        text_projection: C' to D, L2-normalised, of sentences.
        score: between the bags.
        text_pool: what stands for a sentence.
        word_projection: C' to D, L2-normalised, of words; needed where the score reads words.
    """

    def __init__(
        self,
        *,
        image_encoder: nn.Module,
        image_projection: nn.Module,
        text_encoder: nn.Module,
        text_projection: nn.Module,
        score: Score,
        text_pool: TextPool = TextPool.MEAN,
        word_projection: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.cell_centre: float = getattr(image_encoder, "cell_centre")  # noqa: B009
        self.image_projection = image_projection
        self.text_encoder = text_encoder
        self.text_projection = text_projection
        self.score = score
        self.text_pool = text_pool
        self.word_projection = word_projection

    def train(self, mode: bool = True) -> "DualEncoder":
        """Training or evaluation mode; what is frozen stays in evaluation mode.

        So the statistics of its batch norms stay, and it draws no dropout.
        """
        super().train(mode)
        for module in [*self.image_encoder.modules(), *self.text_encoder.modules()] if mode else ():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
        return self

    def encode_images(
        self, films: Float[Tensor, "image 1 height width"], cover: Float[Tensor, "image 4"]
    ) -> ImageFeatures:
        """Regions of each film.

        Args:
            films: normalised pixels.
            cover: where the film lies in the padded square: left, top, right, bottom in [0, 1].
        """
        feature_map = self.image_encoder(films)  # [B, C, rows, columns]
        rows, columns = feature_map.shape[-2:]
        features = feature_map.flatten(2).transpose(1, 2)  # [B, N, C]
        mask = covered_regions(cover, rows, columns, centre=self.cell_centre)
        return ImageFeatures(
            regions=RegionBag(
                features=self.image_projection(features),
                mask=mask,
                grid=(rows, columns),
                cell_centre=self.cell_centre,
            ),
            pooled=average_of_film(features, mask),
        )

    def encode_sentences(
        self,
        tokens: Int[Tensor, "sentence token"],
        mask: Bool[Tensor, "sentence token"],
        *,
        num_lots: int = 1,
    ) -> Sentences:
        """Features of sentences, and of their words if the score reads them.

        Sentences of like length are encoded together, cut at the longest of them, so that the encoder reads
        little padding; it changes no feature.

        Args:
            tokens: ids, padded at the end.
            mask: True for real tokens.
            num_lots: how many parts of the sentences are encoded one at a time, and once more in the backward
                pass (`encode_in_lots`); 1 for all of them at once.
        """
        if not len(tokens):
            return self._encode(tokens, mask)
        lengths, parts = sentence_lengths(mask), []
        groups = length_groups(lengths, cost_of_call=CALL_ON_GPU if tokens.is_cuda else CALL_ON_CPU)
        most = sum(len(group) * lengths[group].max() for group in groups) / num_lots  # tokens of a lot
        for group in groups:
            rows, longest = torch.from_numpy(group).to(tokens.device), int(lengths[group].max())
            inputs = (tokens[rows, :longest], mask[rows, :longest])
            if num_lots == 1:
                parts.append(self._encode(*inputs))
            else:
                lots = math.ceil(len(group) * longest / most)
                parts += encode_in_lots(self._encode, *inputs, num_lots=lots)
        back = torch.from_numpy(np.argsort(np.concatenate(groups))).to(tokens.device)
        return join_sentences(parts)[back]

    def _encode(
        self, tokens: Int[Tensor, "sentence token"], mask: Bool[Tensor, "sentence token"]
    ) -> Sentences:
        states = self.text_encoder(tokens, mask)  # [U, T, C']
        words = None
        if self.word_projection is not None:
            words = Words(features=self.word_projection(states), mask=word_mask(mask))
        pooled = pool_tokens(states, mask, pool=self.text_pool)
        return Sentences(features=self.text_projection(pooled), words=words)


def average_of_film(
    features: Float[Tensor, "image region channel"], mask: Bool[Tensor, "image region"]
) -> Float[Tensor, "image channel"]:
    """The mean over the regions that look at film, of which there is at least one, in float32."""
    weights = (mask / mask.sum(dim=1, keepdim=True)).unsqueeze(-1)
    return (features.float() * weights).sum(dim=1)


def covered_regions(
    cover: Float[Tensor, "image 4"], rows: int, columns: int, *, centre: float = 0.5
) -> Bool[Tensor, "image region"]:
    """True for the cells that look at film; the cell nearest the film's centre always is one."""
    left, top, right, bottom = cover.unbind(dim=1)
    x = (torch.arange(columns, device=cover.device) + centre) / columns
    y = (torch.arange(rows, device=cover.device) + centre) / rows
    inside_x = _inside_or_nearest(x, left, right)  # [B, columns]
    inside_y = _inside_or_nearest(y, top, bottom)  # [B, rows]
    return (inside_y[:, :, None] & inside_x[:, None, :]).flatten(1)


def _inside_or_nearest(centres: Tensor, low: Tensor, high: Tensor) -> Tensor:
    inside = (centres >= low[:, None]) & (centres <= high[:, None])
    nearest = (centres[None, :] - (low + high)[:, None] / 2).abs().argmin(dim=1)
    return inside | torch.nn.functional.one_hot(nearest, centres.shape[0]).bool()
