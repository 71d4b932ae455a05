"""The Donsker-Varadhan bound on mutual information."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.losses.objective import Loss, contrast, readable
from mmil_cli.core.losses.pairing import Pairing
from mmil_cli.core.losses.reductions import log_mean_exp, pair_mean


class DonskerVaradhan(nn.Module):
    """L = -( E_P[f] - log E_{PxP}[e^f] ).

    Donsker and Varadhan 1983, as in MINE (Belghazi et al. 2018, arXiv 1801.04062). E_P is the mean over all
    positive pairs, E_{PxP} the mean over all negative pairs of the batch: one logarithm of all negatives,
    where InfoNCE has one of each anchor's, with the positive in it; so the two differ in their gradients and
    not by a constant. Unlike the paper, negatives are all other pairs instead of a shuffle.
    Unbounded: unlike InfoNCE it does not stop at log B, and its variance grows with e^I.
    The logarithm of a mean makes its gradient biased in small batches; `mine` corrects that.
    """

    equation: ClassVar[str] = "-(E_P[f] - log E_PxP[e^f])"
    source: ClassVar[str] = "Donsker and Varadhan 1983, in MINE, Belghazi et al. 2018, arXiv 1801.04062"

    def forward(self, logits: Float[Tensor, "image report"], pairing: Pairing) -> Loss:
        """The loss in nats; parts `positives` and `negatives` add up to it."""
        values = readable(logits, pairing)
        return contrast(
            pairing,
            positives=-pair_mean(values, pairing.positive, pairing.reducer),
            negatives=log_mean_exp(values, pairing.negative, pairing.reducer),
        )

    @staticmethod
    def estimate(logits: Float[Tensor, "image report"], pairing: Pairing) -> Float[Tensor, ""]:
        """I >= E_P[f] - log E_{PxP}[e^f] in nats.

        The bound holds for true expectations; the logarithm of a mean over few pairs lies too low on
        average, hence the estimate too high. 0 for a batch without positives or without negatives.
        """
        return -DonskerVaradhan()(logits, pairing).total
