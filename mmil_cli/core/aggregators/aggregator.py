"""What a region aggregator is."""

from enum import StrEnum
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.aggregators.instances import Instances


class Level(StrEnum):
    """What is pooled: instance scores, or region features."""

    LOCAL = "local"
    GLOBAL = "global"


class Aggregator(nn.Module):
    """A permutation-invariant score g(X, y) between a bag of regions and one sentence.

    Its arguments are keywords; `dim`, if it asks for it, is the dimension of the joint embedding.

    Attributes:
        level: local pools instance scores, global pools features and scores the pooled vector.
        equation: for people.
        source: where it is from.
        streams: it asks `Instances` for nothing that holds all instance scores at once.
        reads_words: its instances are pairs of a region and a word.
        keeps_one: a bag of one region has that region's instance score.
        keeps_copies: a bag of copies of one region scores as that region alone.
        is_bounded: with a cosine it lies in [-1, 1].
    """

    level: ClassVar[Level]
    equation: ClassVar[str]
    source: ClassVar[str]
    streams: ClassVar[bool] = False
    reads_words: ClassVar[bool] = False
    keeps_one: ClassVar[bool] = True
    keeps_copies: ClassVar[bool] = True
    is_bounded: ClassVar[bool] = True

    def forward(self, instances: Instances) -> Float[Tensor, "image sentence"]:
        """Scores of each image with each sentence; an image without regions scores 0."""
        raise NotImplementedError

    def weights(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """How much each region counts in the score: at least 0, and summing to 1 over real regions.

        Of a local aggregator the gradient with respect to its instance scores, normalised; of a global one
        the weights that the features are averaged with. Said of single chunks, for logs and calibration.
        """
        raise NotImplementedError

    def region_scores(self, instances: Instances) -> Float[Tensor, "image region sentence"]:
        """How well each region alone fits the sentence: the map that grounding shows."""
        return instances.scores
