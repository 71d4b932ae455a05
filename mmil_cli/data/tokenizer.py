"""WordPiece tokenizers: learned from the training reports, read from a vocabulary, or from a folder."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from mmil_cli.errors import DataError, UsageError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FILE_NAME = "tokenizer.json"


def learn_wordpiece(sentences: Iterable[str], *, vocabulary_size: int) -> Tokenizer:
    """A lower-casing WordPiece tokenizer learned from sentences; the same sentences, the same tokenizer.

    The trainer numbers the letters that continue a word in the order of a hash map, anew in every process,
    and breaks ties by number. Naming them ahead, in order, makes what it learns a function of the sentences.
    """
    lines = sorted(sentences)
    learner = _bert_pipeline(Tokenizer(models.WordPiece(unk_token="[UNK]")))
    letters = sorted(set(learner.normalizer.normalize_str("".join(sorted(set().union(*lines))))))
    letters = [letter for letter in letters if letter.strip()]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[*SPECIAL, *(f"##{letter}" for letter in letters)],
        min_frequency=2,
        show_progress=False,
    )
    learner.train_from_iterator(lines, trainer)
    return _wordpiece(learner.get_vocab())


def read_vocabulary(path: Path) -> Tokenizer:
    """A WordPiece tokenizer of a vocab.txt, one token a line, as BERT ships it (lower case).

    Raises:
        UsageError: the file is missing or lacks BERT's special tokens.
    """
    if not path.is_file():
        raise UsageError(
            f"text.vocabulary: no file {path}; give a WordPiece vocab.txt, or leave it empty to learn one"
        )
    tokens = path.read_text(encoding="utf-8").splitlines()
    vocabulary = {token: index for index, token in enumerate(tokens)}
    missing = [token for token in SPECIAL[:4] if token not in vocabulary]
    if missing:
        raise UsageError(
            f"text.vocabulary: {path} has no {', '.join(missing)}; it must be a WordPiece vocab.txt"
        )
    return _wordpiece(vocabulary)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint or of a Hugging Face folder (`tokenizer.json`, else `vocab.txt`)."""
    path = folder / FILE_NAME
    if path.is_file():
        return Tokenizer.from_str(_checked(path))
    if (folder / "vocab.txt").is_file():
        return read_vocabulary(folder / "vocab.txt")
    raise DataError(f"{folder} has neither {FILE_NAME} nor vocab.txt; save the tokenizer there")


def _checked(path: Path) -> str:
    """The text of a whole `tokenizer.json`; of a broken one `tokenizers` would raise a bare Exception."""
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text)["model"]["type"]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is damaged or no tokenizer; copy the folder again") from error
    return text


class SentenceTokenizer:
    """Sentences to padded arrays of token ids.

    Args:
        tokenizer: any Hugging Face `tokenizers` object with a padding token.
        max_tokens: longest sentence; longer ones are cut before their last special token.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        padding = next(
            (token for token in ("[PAD]", "<pad>") if tokenizer.token_to_id(token) is not None), None
        )
        if padding is None:
            raise DataError("the tokenizer has no padding token ([PAD] or <pad>)")
        tokenizer.enable_truncation(max_tokens)
        tokenizer.enable_padding(pad_id=tokenizer.token_to_id(padding), pad_token=padding)

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, added ones too."""
        return self.tokenizer.get_vocab_size(with_added_tokens=True)

    def __call__(self, sentences: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Token ids [U, T] and a mask that is True for real tokens."""
        encoded = self.tokenizer.encode_batch(list(sentences))
        ids = np.array([item.ids for item in encoded], np.int64)
        return ids, np.array([item.attention_mask for item in encoded], np.bool_)

    def unknown_share(self, sentences: Sequence[str]) -> float:
        """Share of real tokens (special ones and padding left out) that the vocabulary does not know."""
        unknown = self.tokenizer.token_to_id("[UNK]")
        encoded = self.tokenizer.encode_batch(list(sentences))
        # [UNK] is itself flagged as special, so what is left out is told by the attention mask and its place
        real = [token for item in encoded for token in item.ids[1 : sum(item.attention_mask) - 1]]
        return sum(token == unknown for token in real) / len(real) if real else 1.0

    def is_cut(self, sentence: str) -> bool:
        """Whether a sentence has more tokens than are read."""
        return bool(self.tokenizer.encode(sentence).overflowing)

    def save(self, folder: Path) -> None:
        """Writes `tokenizer.json` into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(str(folder / FILE_NAME))


def _wordpiece(vocabulary: dict[str, int]) -> Tokenizer:
    """A tokenizer of a vocabulary with BERT's pipeline: [CLS] sentence [SEP]."""
    tokenizer = _bert_pipeline(Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]")))
    tokenizer.add_special_tokens([token for token in SPECIAL if token in vocabulary])
    brackets = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=brackets)
    return tokenizer


def _bert_pipeline(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer
