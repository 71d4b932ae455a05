"""Encoders and the dual encoder: shapes, padding, gradients on every parameter."""

import pytest
import torch


def tiny_model(**changes):
    from mmil_cli.build import build_model
    from mmil_cli.config.load import check, with_preset

    tree = {
        "image": {"widths": [8, 12, 16], "size": 64, **changes.get("image", {})},
        "text": {"width": 16, "heads": 2, "layers": 1, "dropout": 0.0, **changes.get("text", {})},
        "projection": {"dim": 8, **changes.get("projection", {})},
        "score": changes.get("score", {}),
    }
    torch.manual_seed(0)
    return build_model(check(with_preset(tree), where="test"), vocabulary_size=50)


def tiny_batch():
    films = torch.randn(2, 1, 64, 64)
    cover = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.0, 0.75, 1.0]])
    tokens = torch.tensor([[2, 9, 8, 3], [2, 7, 3, 0]])
    return films, cover, tokens, tokens > 0


def test_films_become_unit_regions_of_the_grid():
    films, cover, *_ = tiny_batch()
    features = tiny_model().eval().encode_images(films, cover)
    assert features.regions.features.shape == (2, 16, 8)
    assert features.regions.grid == (4, 4)
    torch.testing.assert_close(features.regions.features.norm(dim=-1), torch.ones(2, 16))
    assert features.pooled.shape == (2, 16)


def test_padding_of_a_film_is_no_region_and_no_part_of_the_pooled_features():
    films, cover, *_ = tiny_batch()
    features = tiny_model().eval().encode_images(films, cover)
    assert features.regions.mask[0].all()
    expected = torch.tensor([False, True, True, False]).repeat(4)
    assert (features.regions.mask[1] == expected).all()


def test_a_sliver_of_film_still_has_a_region():
    from mmil_cli.core.model import covered_regions

    mask = covered_regions(torch.tensor([[0.49, 0.0, 0.51, 1.0]]), 4, 4)
    assert mask.sum() == 4


def test_padding_of_a_sentence_changes_nothing():
    model = tiny_model().eval()
    *_, tokens, mask = tiny_batch()
    longer = torch.nn.functional.pad(tokens, (0, 3))
    longer, short = model.encode_sentences(longer, longer > 0), model.encode_sentences(tokens, mask)
    torch.testing.assert_close(longer.features, short.features, atol=1e-5, rtol=1e-5)


def test_word_order_matters():
    model = tiny_model().eval()
    tokens = torch.tensor([[2, 9, 8, 3], [2, 8, 9, 3]])
    one, other = model.encode_sentences(tokens, tokens > 0).features
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("hidden_dim", [0, 12])
@pytest.mark.parametrize("expression", ["lse+nl", "gloria", "local-mi"])
def test_every_parameter_gets_a_finite_gradient(hidden_dim, expression):
    from mmil_cli.core.bags import SentenceBag
    from mmil_cli.core.losses.pairing import pair_batch

    model = tiny_model(projection={"hidden_dim": hidden_dim}, score={"expression": expression}).train()
    films, cover, tokens, mask = tiny_batch()
    bag = SentenceBag(sentences=model.encode_sentences(tokens, mask), index=torch.tensor([[0], [1]]))
    pairing = pair_batch(torch.arange(2), torch.arange(2))
    model.score.loss(model.encode_images(films, cover).regions, bag, pairing).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        shifts = name == "score.critic.last.bias"  # adds to all scores, which dv does not see
        assert shifts or parameter.grad.abs().sum() > 0, name


def test_only_models_whose_score_reads_words_project_them():
    *_, tokens, mask = tiny_batch()
    assert tiny_model().encode_sentences(tokens, mask).words is None
    model = tiny_model(score={"expression": "lse+word-max"})
    words = model.encode_sentences(tokens, mask).words
    assert words.features.shape == (2, 4, 8)
    torch.testing.assert_close(words.features.norm(dim=-1), torch.ones(2, 4))
    assert words.mask.tolist() == [[False, True, True, False], [False, True, False, False]]


def test_words_are_neither_marks_nor_padding():
    from mmil_cli.core.encoders.text import word_mask

    lengths = torch.tensor([5, 4, 3, 2, 1, 0])
    found = word_mask(torch.arange(5) < lengths[:, None])
    assert found.sum(dim=1).tolist() == [3, 2, 1, 0, 0, 0]
    assert found[0].tolist() == [False, True, True, True, False]


def test_a_sentence_is_its_mean_token_or_its_first():
    from mmil_cli.core.encoders.text import TextPool, pool_tokens

    states = torch.arange(24.0).view(2, 3, 4)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    mean = pool_tokens(states, mask, pool=TextPool.MEAN)
    torch.testing.assert_close(mean, torch.stack([states[0, :2].mean(dim=0), torch.zeros(4)]))
    assert (pool_tokens(states, mask, pool=TextPool.FIRST) == states[:, 0]).all()
    *_, tokens, mask = tiny_batch()
    mean, first = (
        tiny_model(text={"pool": pool}).eval().encode_sentences(tokens, mask).features for pool in TextPool
    )
    assert (mean - first).abs().max() > 1e-3


def test_padding_changes_no_word():
    model = tiny_model(score={"expression": "word-max"}).eval()
    *_, tokens, _ = tiny_batch()
    longer = torch.nn.functional.pad(tokens, (0, 3))
    short, long = (model.encode_sentences(rows, rows > 0).words for rows in (tokens, longer))
    assert (long.mask[:, :4] == short.mask).all()
    assert not long.mask[:, 4:].any()
    torch.testing.assert_close(long.features[long.mask], short.features[short.mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "layer", "grid"),
    [
        ("resnet18", "", 2),
        ("resnet18", "layer3", 4),
        ("mobilenet_v2", "", 2),
        ("densenet121", "", 2),
        ("convnext_tiny", "", 2),
    ],
)
def test_torchvision_networks_are_cut_at_the_grid_that_is_wanted(name, layer, grid):
    from mmil_cli.core.encoders.torchvision_backbone import TorchvisionBackbone

    backbone = TorchvisionBackbone(name, layer=layer).eval()
    features = backbone(torch.zeros(1, 1, 64, 64))
    assert features.shape == (1, backbone.output_channels, grid, grid)


@pytest.mark.parametrize(
    ("name", "layer", "says"),
    [
        ("resnet19", "", "did you mean 'resnet18'"),
        ("resnet18", "layer9", "layer4"),
        ("resnet18", "layer9", "conv1, layer1, layer2, layer3, layer4"),
        ("maxvit_t", "", "name the layer"),
        ("resnet18", "fc", "no feature map"),
    ],
)
def test_a_network_or_layer_that_does_not_exist_is_named(name, layer, says):
    from mmil_cli.core.encoders.torchvision_backbone import TorchvisionBackbone
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=says):
        TorchvisionBackbone(name, layer=layer)


def place_looked_at(encoder, side=128):
    """Centroid of what a middle cell of a feature map depends on, in input pixels, and the cell's index."""
    films = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    features = encoder.eval()(films)
    cell = features.shape[-1] // 2
    weights = torch.zeros(side)
    for channel in range(min(64, features.shape[1])):
        (gradient,) = torch.autograd.grad(features[0, channel, cell, cell], films, retain_graph=True)
        weights += gradient[0, 0].square().sum(dim=0)
    return (
        float((weights * (torch.arange(side) + 0.5)).sum() / weights.sum()),
        cell,
        side / features.shape[-1],
    )


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("small", ""),
        ("resnet18", "layer3"),
        ("resnet18", ""),
        ("mobilenet_v2", "features.13"),
        ("vgg11", "features.15"),
        ("convnext_tiny", "features.5"),
    ],
)
def test_a_region_looks_where_the_encoder_says(name, layer):
    from mmil_cli.core.encoders.small_resnet import SmallResNet
    from mmil_cli.core.encoders.torchvision_backbone import TorchvisionBackbone

    torch.manual_seed(0)
    encoder = (
        SmallResNet(widths=[8, 16, 32], blocks=2)
        if name == "small"
        else TorchvisionBackbone(name, layer=layer)
    )
    place, cell, stride = place_looked_at(encoder)
    assert place / stride - cell == pytest.approx(encoder.cell_centre, abs=0.15)
