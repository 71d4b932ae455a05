"""Text encoders: one vector for each token, and the pools that make one of a sentence."""

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


class TextPool(StrEnum):
    """What stands for a sentence: the mean of its real tokens, or its first token ([CLS])."""

    MEAN = "mean"
    FIRST = "first"


class SmallTransformer(nn.Module):
    """A pre-norm transformer from scratch over WordPiece tokens.

    Args:
        vocabulary_size: number of token ids.
        width: model dimension.
        num_layers: transformer blocks.
        num_heads: attention heads.
        max_tokens: longest sentence in tokens.
        dropout: probability, in attention, feed-forward and embeddings.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        width: int = 256,
        num_layers: int = 2,
        num_heads: int = 4,
        max_tokens: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Embedding(max_tokens, width)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            width, num_heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.output_channels = width
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(
        self, tokens: Int[Tensor, "sentence token"], mask: Bool[Tensor, "sentence token"]
    ) -> Float[Tensor, "sentence token channel"]:
        """The last layer at every token; padding (mask False) changes nothing at real ones."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.dropout(self.tokens(tokens) + self.positions(places))
        with attention_of(x.device):
            return self.norm(self.blocks(x, src_key_padding_mask=~mask))


class HuggingFaceText(nn.Module):
    """A Hugging Face encoder.

    Args:
        network: a model whose output has `last_hidden_state`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.output_channels = int(network.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def forward(
        self, tokens: Int[Tensor, "sentence token"], mask: Bool[Tensor, "sentence token"]
    ) -> Float[Tensor, "sentence token channel"]:
        """The last hidden state at every token."""
        return self.network(input_ids=tokens, attention_mask=mask.long()).last_hidden_state


def attention_of(device: torch.device) -> AbstractContextManager[None]:
    """The attention kernel for short sentences on a device.

    On a CPU the fused kernel's backward takes ten times as long as plain products for some twenty tokens.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def masked_mean(
    x: Float[Tensor, "sentence token channel"], mask: Bool[Tensor, "sentence token"]
) -> Float[Tensor, "sentence channel"]:
    """Mean over real tokens; 0 for a sentence without any."""
    weights = mask.unsqueeze(-1).to(x.dtype)
    return (x * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def pool_tokens(
    x: Float[Tensor, "sentence token channel"], mask: Bool[Tensor, "sentence token"], *, pool: TextPool
) -> Float[Tensor, "sentence channel"]:
    """One vector a sentence."""
    return x[:, 0] if pool is TextPool.FIRST else masked_mean(x, mask)


def word_mask(mask: Bool[Tensor, "sentence token"]) -> Bool[Tensor, "sentence token"]:
    """True for real tokens but the first and the last, which are marks ([CLS] and [SEP]) and no words."""
    last = torch.zeros_like(mask).scatter_(1, (mask.sum(dim=1, keepdim=True) - 1).clamp(min=0), True)
    words = mask & ~last
    words[:, 0] = False
    return words
