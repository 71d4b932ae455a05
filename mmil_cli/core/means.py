"""One vector for a bag: what to keep of it where bags are too much, as for an index or a plot."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mmil_cli.core.bags import RegionBag, SentenceBag


def mean_regions(images: RegionBag) -> Float[Tensor, "image dim"]:
    """z = mean_n x_n of the real regions, renormalised; 0 for an image without any.

    What the term `pooled` scores (core/aggregators/pooled.py).
    """
    weights = images.mask.to(images.features.dtype).unsqueeze(-1)
    return F.normalize((images.features * weights).sum(dim=1), dim=-1)


def mean_sentences(reports: SentenceBag) -> Float[Tensor, "report dim"]:
    """The mean of a report's sentence vectors, renormalised; 0 for a report without any.

    With the cosine critic and the mean over sentences, the score of `pooled` is the cosine with it times the
    length that the mean had before.
    """
    if reports.index.shape[1] == 0 or len(reports.sentences) == 0:
        return reports.sentences.features.new_zeros(len(reports.index), reports.sentences.features.shape[1])
    real = reports.index >= 0
    gathered = reports.sentences.features[reports.index.clamp(min=0)]  # [R, M, D]
    return F.normalize((gathered * real.unsqueeze(-1)).sum(dim=1), dim=-1)
