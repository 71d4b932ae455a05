"""The Donsker-Varadhan bound with MINE's bias-corrected gradient."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmil_cli.core.losses.dv import DonskerVaradhan
from mmil_cli.core.losses.objective import Loss, check_option, contrast, informative, readable
from mmil_cli.core.losses.pairing import Pairing
from mmil_cli.core.losses.reductions import log_mean_exp, pair_mean


class MINE(nn.Module):
    """L = -( E_P[f] - log E_{PxP}[e^f] ), but its gradient -E_P[f'] + E_{PxP}[e^f f'] / ema(E_{PxP}[e^f]).

    Belghazi et al. 2018 (arXiv 1801.04062), section 3.2: the batch's own mean in the denominator of the
    gradient is replaced by an exponential moving average over steps, because a quotient of two means of the
    same few pairs is biased. ema <- decay ema + (1 - decay) E_{PxP}[e^f] with the present batch in it, so
    the correction is at most 1 / (1 - decay). The average is kept as a logarithm [ours], since e^f overflows,
    and belongs to the checkpoint. The first batch is its own average: there the gradient is that of `dv`.
    The value is that of `dv` at every step. In evaluation mode the average stays as it is.

    Args:
        decay: what is kept of the moving average in a step, in [0, 1); 0 gives `dv`.
    """

    equation: ClassVar[str] = "dv, its gradient with E_PxP[e^f] averaged over steps"
    source: ClassVar[str] = "Belghazi et al. 2018, arXiv 1801.04062, section 3.2"
    log_average: Tensor

    def __init__(self, *, decay: float = 0.99) -> None:
        super().__init__()
        check_option(
            0 <= decay < 1, objective="mine", option="decay", value=decay, range_="at least 0 and below 1"
        )
        self.decay = decay
        self.register_buffer("log_average", torch.tensor(-torch.inf))  # of nothing yet

    def forward(self, logits: Float[Tensor, "image report"], pairing: Pairing) -> Loss:
        """The loss in nats; parts `positives` and `negatives` add up to it."""
        values = readable(logits, pairing)
        log_mean = log_mean_exp(values, pairing.negative, pairing.reducer)
        correction = (log_mean.detach() - self._averaged(log_mean.detach(), pairing)).exp()
        return contrast(
            pairing,
            positives=-pair_mean(values, pairing.positive, pairing.reducer),
            negatives=log_mean.detach() + correction * (log_mean - log_mean.detach()),
        )

    def _averaged(self, log_mean: Float[Tensor, ""], pairing: Pairing) -> Float[Tensor, ""]:
        """log ema(E[e^f]) with this batch in it, remembered while training."""
        before = self.log_average.to(log_mean.dtype)
        keep = math.log(self.decay) if self.decay else -math.inf
        mixed = torch.logaddexp(before + keep, log_mean + math.log1p(-self.decay))
        averaged = torch.where(before.isinf(), log_mean, mixed)
        if self.training:
            self.log_average.copy_(torch.where(informative(pairing), averaged, before))
        return averaged

    @staticmethod
    def estimate(logits: Float[Tensor, "image report"], pairing: Pairing) -> Float[Tensor, ""]:
        """The bound of `dv` in nats: the correction is one of the gradient alone."""
        return DonskerVaradhan.estimate(logits, pairing)
