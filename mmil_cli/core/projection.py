"""Projection of encoder features onto the unit sphere of the joint embedding."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Projection(nn.Module):
    """Linear, or linear - GELU - linear, then L2-normalised.

    Args:
        input_dim: channels of the encoder.
        output_dim: D, the joint embedding.
        hidden_dim: width of the hidden layer; 0 for one linear map.
    """

    def __init__(self, input_dim: int, output_dim: int, *, hidden_dim: int = 0) -> None:
        super().__init__()
        self.layers = (
            nn.Sequential(nn.Linear(input_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, output_dim))
            if hidden_dim
            else nn.Linear(input_dim, output_dim)
        )

    def forward(self, features: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch dim"]:
        """Unit vectors, in float32 also where the encoder ran in less."""
        projected = self.layers(features)
        return F.normalize(projected.to(torch.promote_types(projected.dtype, torch.float32)), dim=-1)
