"""Position embeddings of a grid of patches, for another grid."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def resize_positions(
    positions: Float[Tensor, "1 token channel"], *, rows: int, columns: int, num_marks: int
) -> Float[Tensor, "1 tokens channel"]:
    """The embeddings of a square grid, interpolated bicubically to another one (Dosovitskiy et al. 2021).

    Those of the marks before the grid, such as [CLS], stay as they are. Of the grid they were made for they
    come back unchanged. Corners are not aligned, so that both grids divide the same film.

    Args:
        positions: of the marks, then of the grid row by row.
        rows: of the wanted grid.
        columns: of the wanted grid.
        num_marks: tokens before the grid.
    """
    side = grid_side(positions, num_marks=num_marks)
    if (rows, columns) == (side, side):
        return positions
    marks, grid = positions[:, :num_marks], positions[:, num_marks:]
    planes = grid.transpose(1, 2).unflatten(2, (side, side))  # [1, C, side, side]
    resized = F.interpolate(planes.float(), size=(rows, columns), mode="bicubic", align_corners=False)
    return torch.cat([marks, resized.to(positions.dtype).flatten(2).transpose(1, 2)], dim=1)


def grid_side(positions: Tensor, *, num_marks: int) -> int:
    """Rows of the square grid of some position embeddings [1, T, C]; 0 if they are of none."""
    if positions.dim() != 3 or positions.shape[1] <= num_marks:
        return 0
    side = math.isqrt(positions.shape[1] - num_marks)
    return side if side * side == positions.shape[1] - num_marks else 0
