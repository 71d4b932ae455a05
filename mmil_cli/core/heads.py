"""Heads that read findings off an image: from its average region, or from the regions it attends to."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmil_cli.core.model import average_of_film, covered_regions

WRAPPER = "body."  # what a torchvision network's own names are put below


class AttentionHead(nn.Module):
    """One gated attention pool and one linear classifier for each output, over frozen regions.

    logit_f = c_f . sum_n a_nf x_n + b_f, with a_f = softmax_n( w_f . (tanh(V x_n) * sigmoid(U x_n)) ) over
    real
    regions: gated attention of Ilse, Tomczak and Welling 2018 (arXiv 1802.04712), with V and U shared by the
    outputs [ours]. Regions are unit vectors, scaled by sqrt(D) for the layers [ours]. An image without
    regions gets the biases.

    Args:
        dim: D of the regions.
        num_outputs: F.
        hidden: width of V and U.
    """

    def __init__(self, dim: int, num_outputs: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.scale = dim**0.5
        self.content = nn.Linear(dim, hidden)
        self.gate = nn.Linear(dim, hidden)
        self.attention = nn.Linear(hidden, num_outputs, bias=False)
        self.classifier = nn.Linear(dim, num_outputs)

    def forward(
        self, regions: Float[Tensor, "image region dim"], mask: Bool[Tensor, "image region"]
    ) -> Float[Tensor, "image output"]:
        """Logits."""
        scaled = regions * self.scale
        weights = self.weights(regions, mask)
        # The classifier is linear, so it may read each region before they are pooled: no [B, F, D] is held.
        votes = scaled @ self.classifier.weight.T  # [B, N, F]
        return (weights * votes).sum(dim=1) + self.classifier.bias

    def weights(
        self, regions: Float[Tensor, "image region dim"], mask: Bool[Tensor, "image region"]
    ) -> Float[Tensor, "image region output"]:
        """a: at least 0, of sum 1 over the real regions of an image; 0 where there is none."""
        scaled = regions * self.scale
        logits = self.attention(self.content(scaled).tanh() * self.gate(scaled).sigmoid())
        hidden = ~mask.unsqueeze(-1)
        weights = logits.masked_fill(hidden, -1e9).softmax(dim=1)
        return weights.masked_fill(hidden, 0.0)


class FilmClassifier(nn.Module):
    """An image encoder with a linear head on the average of its feature map over the film.

    Args:
        encoder: film [B, 1, H, W] to feature map [B, C, rows, columns].
        num_outputs: F.
        frozen_below: name of the first layer that is trained, such as `stages.1`; what lies before it keeps
            its weights and the statistics of its norms. Empty to train all.

    Raises:
        KeyError: no parameter belongs to that layer.
    """

    def __init__(self, encoder: nn.Module, num_outputs: int, *, frozen_below: str = "") -> None:
        super().__init__()
        self.encoder = encoder
        self.cell_centre: float = getattr(encoder, "cell_centre")  # noqa: B009
        channels: int = getattr(encoder, "output_channels")  # noqa: B009
        self.head = nn.Linear(channels, num_outputs)
        if frozen_below:
            self._freeze(frozen_below)

    def forward(
        self, films: Float[Tensor, "image 1 height width"], cover: Float[Tensor, "image 4"]
    ) -> Float[Tensor, "image output"]:
        """Logits of normalised films; `cover` as in `DualEncoder.encode_images`."""
        feature_map = self.encoder(films)
        rows, columns = feature_map.shape[-2:]
        mask = covered_regions(cover, rows, columns, centre=self.cell_centre)
        return self.head(average_of_film(feature_map.flatten(2).transpose(1, 2), mask))

    def train(self, mode: bool = True) -> "FilmClassifier":
        """As usual, but norms whose weights are frozen stay as in evaluation."""
        super().train(mode)
        for module in self.encoder.modules():
            own = list(module.parameters(recurse=False))
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()
        return self

    def _freeze(self, layer: str) -> None:
        before = True
        for name, parameter in self.encoder.named_parameters():
            before = before and not name.removeprefix(WRAPPER).startswith(f"{layer}.")
            parameter.requires_grad_(not before)
        if before:
            raise KeyError(layer)


def layer_names(encoder: nn.Module, *, depth: int = 2) -> list[str]:
    """The layers of an encoder, in their order, by the first parts of the names of their parameters."""
    names = (name.removeprefix(WRAPPER).split(".")[:-1][:depth] for name, _ in encoder.named_parameters())
    return list(dict.fromkeys(".".join(parts) for parts in names))
