"""The text tower as a Hugging Face folder that AutoModel and AutoTokenizer open."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.megatron_bert import MegatronBertConfig, MegatronBertModel

from mmil_cli.core.encoders.text import HuggingFaceText, SmallTransformer
from mmil_cli.data.tokenizer import SentenceTokenizer
from mmil_cli.errors import MmilError

SPECIAL = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
SAMPLES = (
    "There is a small left pleural effusion.",
    "No pneumothorax.",
    "The heart is enlarged, and the mediastinum is wide; lines and tubes are where they were before.",
)


def write_text_tower(encoder: nn.Module, tokenizer: SentenceTokenizer, folder: Path) -> float:
    """Writes model and tokenizer, opens them again, and gives the largest difference of any token's features.

    Raises:
        MmilError: what was written reads a text in another way.
    """
    network = _network(encoder, tokenizer)
    network.save_pretrained(folder)
    as_transformers_have_it(tokenizer).save_pretrained(folder)
    return _check(encoder, tokenizer, folder)


def as_transformers_have_it(tokenizer: SentenceTokenizer) -> PreTrainedTokenizerFast:
    """The tokenizer with its special tokens named and its longest text."""
    own = tokenizer.tokenizer
    named = {
        name: next(token for token in spellings if own.token_to_id(token) is not None)
        for name, spellings in SPECIAL.items()
        if any(own.token_to_id(token) is not None for token in spellings)
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=own,
        model_max_length=tokenizer.max_tokens,
        model_input_names=["input_ids", "attention_mask"],
        **named,
    )


def _network(encoder: nn.Module, tokenizer: SentenceTokenizer) -> PreTrainedModel:
    if isinstance(encoder, HuggingFaceText):
        assert isinstance(encoder.network, PreTrainedModel)
        return encoder.network
    assert isinstance(encoder, SmallTransformer)
    return megatron_bert(encoder, padding=_padding(tokenizer))


def megatron_bert(encoder: SmallTransformer, *, padding: int) -> MegatronBertModel:
    """Our transformer as the one of Hugging Face's that has the same layers.

    Norms stand before attention and feed-forward and once more at the end, and embeddings have none: that is
    Megatron's BERT, not BERT. Kinds of tokens and the pooler, which ours has not, do nothing: zeros, and the
    identity (under Megatron's tanh).
    """
    layers = encoder.blocks.layers
    first = layers[0]
    config = MegatronBertConfig(
        vocab_size=encoder.tokens.num_embeddings,
        hidden_size=encoder.output_channels,
        num_hidden_layers=len(layers),
        num_attention_heads=first.self_attn.num_heads,
        intermediate_size=first.linear1.out_features,
        hidden_act="gelu",
        hidden_dropout_prob=encoder.dropout.p,
        attention_probs_dropout_prob=first.self_attn.dropout,
        max_position_embeddings=encoder.positions.num_embeddings,
        type_vocab_size=1,
        layer_norm_eps=encoder.norm.eps,
        pad_token_id=padding,
    )
    network = MegatronBertModel(config)
    network.load_state_dict(dict(_megatron_names(encoder)), strict=True)
    return network.eval()


def _megatron_names(encoder: SmallTransformer) -> Iterator[tuple[str, Tensor]]:
    width = encoder.output_channels
    yield "embeddings.word_embeddings.weight", encoder.tokens.weight.detach()
    yield "embeddings.position_embeddings.weight", encoder.positions.weight.detach()
    yield "embeddings.token_type_embeddings.weight", torch.zeros(1, width)
    for number, layer in enumerate(encoder.blocks.layers):
        place = f"encoder.layer.{number}"
        for kind in ("weight", "bias"):
            joined = getattr(layer.self_attn, f"in_proj_{kind}").detach()
            for name, part in zip(("query", "key", "value"), joined.chunk(3), strict=True):
                yield f"{place}.attention.self.{name}.{kind}", part.contiguous()
            for name, module in (
                ("attention.ln", layer.norm1),
                ("attention.output.dense", layer.self_attn.out_proj),
                ("ln", layer.norm2),
                ("intermediate.dense", layer.linear1),
                ("output.dense", layer.linear2),
            ):
                yield f"{place}.{name}.{kind}", getattr(module, kind).detach()
    yield "encoder.ln.weight", encoder.norm.weight.detach()
    yield "encoder.ln.bias", encoder.norm.bias.detach()
    yield "pooler.dense.weight", torch.eye(width)
    yield "pooler.dense.bias", torch.zeros(width)


def _padding(tokenizer: SentenceTokenizer) -> int:
    found = tokenizer.tokenizer.padding
    assert found is not None
    return int(found["pad_id"])


@torch.inference_mode()
def _check(encoder: nn.Module, tokenizer: SentenceTokenizer, folder: Path) -> float:
    """The largest difference at real tokens between the tower and what opens from the folder."""
    network = AutoModel.from_pretrained(folder, trust_remote_code=False).eval()
    theirs = AutoTokenizer.from_pretrained(folder)(
        list(SAMPLES), padding=True, truncation=True, return_tensors="pt"
    )
    tokens, mask = (torch.from_numpy(array) for array in tokenizer(SAMPLES))
    if not (torch.equal(theirs["input_ids"], tokens) and torch.equal(theirs["attention_mask"].bool(), mask)):
        raise MmilError(f"{folder.name}: transformers splits texts into other tokens than the tower reads")
    expected = encoder.eval()(tokens, mask)
    found = network(**theirs).last_hidden_state
    return float((found - expected)[mask].abs().max())
