"""Tokenizers: the same in every process, padded and cut, and honest about words they do not know."""

import subprocess
import sys

import numpy as np
import pytest

SENTENCES = [
    "There is a large left pleural effusion.",
    "No pleural effusion or pneumothorax.",
    "The heart is enlarged; the lungs are clear.",
    "Small right apical pneumothorax, 1.5 cm.",
]

LEARN = """
import hashlib
from mmil_cli.data.tokenizer import learn_wordpiece
print(hashlib.sha256(learn_wordpiece({sentences!r}, vocabulary_size=120).to_str().encode()).hexdigest())
"""


def make_tokenizer(max_tokens=48, vocabulary_size=200):
    from mmil_cli.data.tokenizer import SentenceTokenizer, learn_wordpiece

    return SentenceTokenizer(
        learn_wordpiece(SENTENCES, vocabulary_size=vocabulary_size), max_tokens=max_tokens
    )


def test_every_process_learns_the_same():
    code = LEARN.format(sentences=SENTENCES)
    hashes = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(4)
    }
    assert len(hashes) == 1


def test_order_of_sentences_does_not_matter():
    from mmil_cli.data.tokenizer import learn_wordpiece

    tokenizers = [
        learn_wordpiece(lines, vocabulary_size=120).to_str() for lines in (SENTENCES, SENTENCES[::-1])
    ]
    assert tokenizers[0] == tokenizers[1]


def test_ids_and_mask_are_padded_to_the_longest():
    ids, mask = make_tokenizer()(["effusion", "no pleural effusion"])
    assert ids.shape == mask.shape
    assert mask[1].all()
    assert not mask[0].all()
    assert (ids[~mask] == 0).all()


def test_a_long_sentence_is_cut_but_stays_closed():
    tokenizer = make_tokenizer(max_tokens=6)
    ids, _ = tokenizer(["the heart is enlarged and the lungs are clear and " * 5])
    assert ids.shape[1] == 6
    assert tokenizer.tokenizer.id_to_token(int(ids[0, -1])) == "[SEP]"


def test_case_and_learned_words():
    tokenizer = make_tokenizer()
    small, _ = tokenizer(["pleural effusion"])
    great, _ = tokenizer(["Pleural EFFUSION"])
    assert np.array_equal(small, great)
    assert tokenizer.unknown_share(SENTENCES) == 0
    assert tokenizer.unknown_share(["日本"]) == 1


def test_saved_is_what_was_learned(tmp_path):
    from mmil_cli.data.tokenizer import SentenceTokenizer, read_tokenizer

    tokenizer = make_tokenizer()
    tokenizer.save(tmp_path)
    again = SentenceTokenizer(read_tokenizer(tmp_path), max_tokens=48)
    assert np.array_equal(tokenizer(SENTENCES)[0], again(SENTENCES)[0])
    assert again.vocabulary_size == tokenizer.vocabulary_size


def test_a_folder_without_a_tokenizer_is_told(tmp_path):
    from mmil_cli.data.tokenizer import read_tokenizer
    from mmil_cli.errors import DataError

    with pytest.raises(DataError, match=r"neither tokenizer\.json nor vocab\.txt"):
        read_tokenizer(tmp_path)


def test_the_vocabulary_of_bert_reads_reports(shared_data):
    from mmil_cli.data.tokenizer import SentenceTokenizer, read_vocabulary

    tokenizer = SentenceTokenizer(
        read_vocabulary(shared_data / "vocab" / "bert-base-uncased-vocab.txt"), max_tokens=64
    )
    assert tokenizer.vocabulary_size == 30522
    assert tokenizer.unknown_share(SENTENCES) == 0
    ids, _ = tokenizer(["no pleural effusion"])
    assert ids[0, 0] == 101
    assert ids[0, -1] == 102
