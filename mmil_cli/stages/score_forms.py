"""The scores written plainly, as from the equations: what `mmil bench scores` holds ours against."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GAMMA = 5.0  # of both terms


def direct_lse_nl(regions: Tensor, sentences: Tensor, index: Tensor) -> Tensor:
    """LSE + NL by whole tensors over every image, report, region and sentence.

    Args:
        regions: [B, N, D], unit vectors.
        sentences: the distinct ones [U, D], unit vectors.
        index: which of them each report holds [R, M].

    Returns:
        Sum of both scores [B, R].
    """
    sentences = sentences[index]  # [R, M, D]
    scores = torch.einsum("bnd,rmd->brnm", regions, sentences)
    soft_maximum = (GAMMA * scores).logsumexp(dim=2) / GAMMA - _log_number(regions) / GAMMA
    candidates = torch.einsum("bnd,rmd->brnm", neighbourhoods(regions), sentences)
    critical = scores.argmax(dim=2, keepdim=True)
    return (soft_maximum + candidates.gather(2, critical)[:, :, 0]).mean(dim=2)


def looped_lse_nl(regions: Tensor, sentences: Tensor, index: Tensor) -> Tensor:
    """The same report by report, each attending to the regions of all images by itself.

    As GLoRIA's public code walks over a batch: the report's sentences are repeated for every image, and the
    region that each attends to is pooled anew for each pair.
    """
    columns = []
    for report in sentences[index]:
        repeated = report.unsqueeze(0).repeat(len(regions), 1, 1)  # [B, M, D]
        scores = torch.bmm(regions, repeated.transpose(1, 2))  # [B, N, M]
        soft_maximum = (GAMMA * scores).logsumexp(dim=1) / GAMMA - _log_number(regions) / GAMMA
        critical = scores.argmax(dim=1)  # [B, M]
        keys = regions.gather(1, critical.unsqueeze(-1).expand(-1, -1, regions.shape[2]))  # [B, M, D]
        attention = (GAMMA * torch.bmm(keys, regions.transpose(1, 2))).softmax(dim=-1)  # [B, M, N]
        context = torch.bmm(attention, regions)
        columns.append((soft_maximum + F.cosine_similarity(context, repeated, dim=-1)).mean(dim=1))
    return torch.stack(columns, dim=1)


def matrix_product(regions: Tensor, sentences: Tensor, _: Tensor) -> Tensor:
    """X Y^T alone [B N, U]: what any of these scores computes at least."""
    return regions.flatten(0, 1) @ sentences.T


def neighbourhoods(regions: Tensor) -> Tensor:
    """z_k of every region [B, N, D]."""
    weights = (GAMMA * regions @ regions.transpose(1, 2)).softmax(dim=-1)
    return F.normalize(weights @ regions, dim=-1)


class ConcatenatedMLP(nn.Module):
    """The MLP critic on [x; y], every pair laid out.

    Args:
        dim: D of both sides.
        hidden: units of the first layer.
        second: units of the second layer.
    """

    def __init__(self, dim: int, hidden: int, second: int) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.Sequential(
            nn.Linear(2 * dim, hidden), nn.ReLU(), nn.Linear(hidden, second), nn.ReLU(), nn.Linear(second, 1)
        )

    def forward(self, regions: Tensor, sentences: Tensor) -> Tensor:
        """h of every region with every sentence [B, N, U]."""
        shape = (*regions.shape[:2], len(sentences), self.dim)
        pairs = torch.cat([regions.unsqueeze(2).expand(shape), sentences.expand(shape)], dim=-1)
        return self.layers(pairs * self.dim**0.5).squeeze(-1)


def _log_number(regions: Tensor) -> float:
    return float(torch.tensor(float(regions.shape[1])).log())
