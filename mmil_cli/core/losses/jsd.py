"""The Jensen-Shannon objective."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mmil_cli.core.losses.nwj import NguyenWainwrightJordan
from mmil_cli.core.losses.objective import Loss, contrast, readable
from mmil_cli.core.losses.pairing import Pairing
from mmil_cli.core.losses.reductions import pair_mean


class JensenShannon(nn.Module):
    """L = -( E_P[-softplus(-f)] - E_{PxP}[softplus(f)] ).

    f-GAN (Nowozin et al. 2016, arXiv 1606.00709), as in Deep InfoMax (Hjelm et al. 2019, arXiv 1808.06670):
    the logistic loss of telling positives from negatives, both kinds weighing the same whatever their
    numbers. Its gradients are bounded. It bounds the Jensen-Shannon divergence, 2 log 2 - L = 2 JSD at best,
    and not the mutual information. Best at f = log p(x, y) / (p(x) p(y)).
    """

    equation: ClassVar[str] = "E_P[softplus(-f)] + E_PxP[softplus(f)]"
    source: ClassVar[str] = "Nowozin et al. 2016, arXiv 1606.00709; Hjelm et al. 2019, arXiv 1808.06670"

    def forward(self, logits: Float[Tensor, "image report"], pairing: Pairing) -> Loss:
        """The loss in nats; parts `positives` and `negatives` add up to it."""
        values = readable(logits, pairing)
        return contrast(
            pairing,
            positives=pair_mean(F.softplus(-values), pairing.positive, pairing.reducer),
            negatives=pair_mean(F.softplus(values), pairing.negative, pairing.reducer),
        )

    @staticmethod
    def estimate(logits: Float[Tensor, "image report"], pairing: Pairing) -> Float[Tensor, ""]:
        """I >= E_P[f] + 1 - E_{PxP}[e^f] in nats: the bound `nwj` at the critic 1 + f.

        The critic trained here is an estimate of log p(x, y) / (p(x) p(y)), and 1 + that is the best critic
        of `nwj` (Poole et al. 2019, arXiv 1905.06922): so the estimate is a bound for any critic, and the
        mutual information itself for the best. 0 without positives or without negatives.
        """
        return NguyenWainwrightJordan.estimate(logits + 1, pairing)
