"""The critics of `mmil pretrain` as it has them: on the outputs of two encoders, with a logit scale."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmil_cli.core.build_score import build_part
from mmil_cli.core.critics import CRITICS
from mmil_cli.core.critics.critic import Critic
from mmil_cli.core.terms import DEFAULT_TEMPERATURE

HIDDEN, EMBEDDING = 64, 16
"""Units of an encoder's hidden layer, and D of the joint embedding."""


class TowerCritic(Critic):
    """f(x, y) = e^s h(u(x), v(y)): h a critic of the registry, u and v encoders of one hidden layer.

    The encoders give unit vectors and s starts at log(1 / 0.07), as with a dual encoder.

    Args:
        dim: of x and y.
        critic: as a recipe's `score.critic`.
    """

    equation = "e^s h(u(x), v(y)), u and v encoders of one hidden layer"
    source = "the models of mmil in small"

    def __init__(self, dim: int, *, critic: str) -> None:
        super().__init__(dim)
        self.first, self.second = (_encoder(dim) for _ in range(2))
        self.critic = build_part(critic, CRITICS, role="critic", dim=EMBEDDING)
        self.log_scale = nn.Parameter(-torch.tensor(DEFAULT_TEMPERATURE).log())

    def forward(self, regions: Tensor, sentences: Tensor) -> Tensor:
        """f of every x [B, N, dim] with every y [U, dim], as [B, N, U]; they are of a length of about 1."""
        first, second = (
            F.normalize(tower(values * self.dim**0.5), dim=-1)
            for tower, values in ((self.first, regions), (self.second, sentences))
        )
        return self.log_scale.exp() * self.critic(first, second)


def _encoder(dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, EMBEDDING))
