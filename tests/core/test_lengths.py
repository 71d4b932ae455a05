"""Sentences in groups of like length: the cheapest groups, and the features and gradients of all at once."""

import itertools

import numpy as np
import pytest
import torch


def cost_of(groups, lengths, cost_of_call):
    return sum(len(group) * lengths[group].max() + cost_of_call for group in groups)


def every_partition(lengths):
    """All ways to cut the sorted sentences into neighbouring groups, the slow truth."""
    order = np.argsort(lengths, kind="stable")
    for cuts in itertools.product((False, True), repeat=len(lengths) - 1):
        yield np.split(order, 1 + np.flatnonzero(cuts))


@pytest.mark.parametrize("cost_of_call", [0, 3, 10, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_no_other_groups_are_cheaper(seed, cost_of_call):
    from mmil_cli.core.lengths import length_groups

    lengths = np.random.default_rng(seed).integers(1, 30, 9)
    groups = length_groups(lengths, cost_of_call=cost_of_call)
    assert sorted(np.concatenate(groups)) == list(range(9))
    best = min(cost_of(found, lengths, cost_of_call) for found in every_partition(lengths))
    assert cost_of(groups, lengths, cost_of_call) == best


def test_dear_calls_give_one_group_and_free_ones_a_group_a_length():
    from mmil_cli.core.lengths import length_groups

    lengths = np.array([4, 2, 4, 9, 2])
    assert [group.tolist() for group in length_groups(lengths, cost_of_call=10**6)] == [[0, 1, 2, 3, 4]]
    assert [group.tolist() for group in length_groups(lengths, cost_of_call=0)] == [[1, 4], [0, 2], [3]]
    assert length_groups(lengths[:0], cost_of_call=1) == []


def test_the_length_is_the_place_of_the_last_real_token():
    from mmil_cli.core.lengths import sentence_lengths

    mask = torch.tensor([[True, True, False], [False, True, False], [False, False, False]])
    assert sentence_lengths(mask).tolist() == [2, 2, 1]


def reports(num_reports=6, longest=20, seed=0):
    """Token ids of distinct sentences of many lengths, and reports that repeat them."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, longest + 1, 11)
    tokens = torch.zeros(11, longest, dtype=torch.long)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.from_numpy(generator.integers(5, 50, length))
    index = torch.from_numpy(generator.integers(0, 11, (num_reports, 4)))
    index[:, 3][::2] = -1
    return tokens, index


def losses_of_both(expression, monkeypatch, num_lots):
    """The loss with each distinct sentence once in groups, and with every sentence, padded to the longest."""
    from test_model import tiny_model

    from mmil_cli.core import model as module
    from mmil_cli.core.bags import RegionBag, SentenceBag
    from mmil_cli.core.losses.pairing import pair_batch

    monkeypatch.setattr(module, "CALL_ON_CPU", 0)
    model = tiny_model(score={"expression": expression}).double().eval()
    tokens, index = reports()
    regions = torch.nn.functional.normalize(torch.randn(6, 5, 8, dtype=torch.float64), dim=2)
    bag = RegionBag(features=regions, mask=torch.ones(6, 5, dtype=torch.bool), grid=(1, 5))
    repeated = tokens[index.clamp(min=0)].flatten(0, 1)
    places = torch.where(index >= 0, torch.arange(index.numel()).view_as(index), -1)
    forms = (
        SentenceBag(sentences=model.encode_sentences(tokens, tokens > 0, num_lots=num_lots), index=index),
        SentenceBag(sentences=model._encode(repeated, repeated > 0), index=places),
    )
    for sentences in forms:
        model.zero_grad()
        loss = model.score.loss(bag, sentences, pair_batch(torch.arange(6), torch.arange(6))).total
        loss.backward()
        yield loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("num_lots", [1, 3])
@pytest.mark.parametrize("expression", ["lse+nl", "lse+word-max", "gloria"])
def test_distinct_sentences_in_groups_give_the_loss_and_gradients_of_all(expression, num_lots, monkeypatch):
    (loss, gradients), (expected, of_all) = losses_of_both(expression, monkeypatch, num_lots)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert gradients.keys() == of_all.keys()
    assert any(name.startswith("text_encoder.") for name in gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, of_all[name], rtol=1e-9, atol=1e-12)


def test_groups_keep_the_order_of_sentences_and_words(monkeypatch):
    from test_model import tiny_model

    from mmil_cli.core import model as module

    model = tiny_model(score={"expression": "word-max"}).eval()
    tokens, _ = reports()
    whole = model._encode(tokens, tokens > 0)
    for cost in (0, 20, 10**6):
        monkeypatch.setattr(module, "CALL_ON_CPU", cost)
        found = model.encode_sentences(tokens, tokens > 0)
        torch.testing.assert_close(found.features, whole.features, atol=1e-5, rtol=1e-4)
        longest = found.words.mask.shape[1]
        assert (found.words.mask == whole.words.mask[:, :longest]).all()
        assert not whole.words.mask[:, longest:].any()
        real = found.words.mask
        torch.testing.assert_close(
            found.words.features[real], whole.words.features[:, :longest][real], atol=1e-5, rtol=1e-4
        )
