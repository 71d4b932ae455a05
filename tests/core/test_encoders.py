"""Image encoders of other makers: their grid, where cells look, one channel, any size; blocks of a tower."""

import copy

import pytest
import torch


def hugging_face(kind, *, side=64):
    """A small Hugging Face vision model from the seed, as an encoder, and as its maker gives it."""
    import transformers

    from mmil_cli.core.encoders.hugging_face_image import HuggingFaceImage

    small = {
        "vit": ("ViT", VIT),
        "dinov2": ("Dinov2", VIT),
        "clip": ("CLIPVision", VIT),
        "resnet": (
            "ResNet",
            {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [1] * 4, "layer_type": "basic"},
        ),
        "convnext": ("ConvNext", {"hidden_sizes": [8, 12, 16, 20], "depths": [1] * 4}),
        "swin": (
            "Swin",
            {"image_size": 64, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
        ),
    }
    name, options = small[kind]
    torch.manual_seed(0)
    network = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**options))
    return HuggingFaceImage(copy.deepcopy(network), name=kind, side=side), network


VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 32,
    "patch_size": 8,
}
GRIDS = {"vit": 8, "dinov2": 8, "clip": 8, "resnet": 2, "convnext": 2, "swin": 8}


@pytest.mark.parametrize("kind", GRIDS)
def test_hugging_face_models_give_a_grid_of_gray_films_of_any_size(kind):
    encoder, network = hugging_face(kind)
    films = torch.randn(2, 1, 64, 64)
    options = {"interpolate_pos_encoding": True} if kind in ("vit", "clip", "swin") else {}
    with torch.inference_mode():
        found = encoder.eval()(films)
        states = network.eval()(pixel_values=films.expand(-1, 3, -1, -1), **options).last_hidden_state
    rows = GRIDS[kind]
    assert found.shape == (2, encoder.output_channels, rows, rows)
    if states.dim() == 3:
        patches = states[:, -rows * rows :]  # those of marks come first
        states = torch.stack([patches[:, r * rows : (r + 1) * rows] for r in range(rows)], dim=1)
        states = states.permute(0, 3, 1, 2)
    torch.testing.assert_close(found, states, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["vit", "clip"])
def test_the_marks_of_a_transformer_are_no_region(kind):
    encoder, network = hugging_face(kind)
    with torch.no_grad():
        first = network.eval()(
            pixel_values=torch.zeros(1, 3, 64, 64), interpolate_pos_encoding=True
        ).last_hidden_state[:, 0]
        cells = encoder.eval()(torch.zeros(1, 1, 64, 64)).flatten(2)
    assert (cells - first.unsqueeze(-1)).abs().amax(dim=1).min() > 1e-3


TORCHVISION = (
    ("resnet18", ""),
    ("densenet121", ""),
    ("convnext_tiny", "features.3"),
    ("swin_t", "features.3"),
    ("vit_b_32", "0"),
)


def torchvision_encoder(name, layer, *, side=64):
    from mmil_cli.build import build_image_encoder
    from mmil_cli.config.load import check

    torch.manual_seed(0)
    return build_image_encoder(
        check({"image": {"encoder": name, "layer": layer, "size": side}}, where="test").image
    )


@pytest.mark.parametrize(("name", "layer"), TORCHVISION)
def test_one_channel_computes_what_the_film_repeated_to_colours_gives(name, layer):
    from torchvision.models import get_model
    from torchvision.models.feature_extraction import create_feature_extractor

    encoder = torchvision_encoder(name, layer)
    torch.manual_seed(0)
    network = get_model(name, weights=None).eval()
    films = torch.rand(1, 1, 224 if name.startswith("vit") else 64, 224 if name.startswith("vit") else 64)
    node = {"resnet18": "layer4", "densenet121": "features", "vit_b_32": "encoder.layers.encoder_layer_0"}
    expected = create_feature_extractor(network, {node.get(name, layer): "map"})(films.expand(-1, 3, -1, -1))
    expected = expected["map"]
    if name == "swin_t":
        expected = expected.permute(0, 3, 1, 2)
    if name == "vit_b_32":
        expected = network.encoder.ln(expected)[:, 1:].transpose(1, 2).unflatten(2, (7, 7))
    torch.testing.assert_close(encoder.eval()(films), expected, atol=1e-4, rtol=1e-3)


def place_looked_at(encoder, side=128):
    """Centroid of what a middle cell depends on, less the cell's index, in cells."""
    films = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    features = encoder.eval()(films)
    cell = features.shape[-1] // 2
    weights = torch.zeros(side)
    for channel in range(min(48, features.shape[1])):
        (gradient,) = torch.autograd.grad(features[0, channel, cell, cell], films, retain_graph=True)
        weights += gradient[0, 0].square().sum(dim=0)
    place = float((weights * (torch.arange(side) + 0.5)).sum() / weights.sum())
    return place * features.shape[-1] / side - cell


@pytest.mark.parametrize(
    ("name", "layer", "centre"),
    [
        ("densenet121", "features.denseblock3", 0.406),
        ("squeezenet1_1", "", 0.473),
        ("swin_t", "features.3", 0.5),
        ("vit_b_32", "1", 0.5),
    ],
)
def test_a_cell_of_torchvision_looks_where_the_arithmetic_says(name, layer, centre):
    encoder = torchvision_encoder(name, layer, side=128)
    assert encoder.cell_centre == pytest.approx(centre, abs=2e-3)
    assert place_looked_at(encoder) == pytest.approx(centre, abs=0.15)


@pytest.mark.parametrize("kind", GRIDS)
def test_a_cell_of_hugging_face_looks_where_the_arithmetic_says(kind):
    encoder, _ = hugging_face(kind, side=128)
    assert encoder.cell_centre == pytest.approx(0.5 / 32 if kind == "resnet" else 0.5, abs=2e-3)
    assert place_looked_at(encoder) == pytest.approx(encoder.cell_centre, abs=0.15)


def test_positions_of_their_own_grid_are_unchanged_and_of_another_interpolated():
    from mmil_cli.core.encoders.positions import resize_positions

    positions = torch.randn(1, 1 + 16, 4)
    assert resize_positions(positions, rows=4, columns=4, num_marks=1) is positions
    ramp = torch.arange(4.0).repeat(4).view(1, 16, 1)  # grows from left to right
    finer = resize_positions(
        torch.cat([torch.full((1, 1, 1), 9.0), ramp], dim=1), rows=8, columns=8, num_marks=1
    )
    assert finer[0, 0] == 9
    rows = finer[0, 1:, 0].view(8, 8)
    torch.testing.assert_close(rows, rows[:1].expand(8, 8))
    torch.testing.assert_close(rows[0, 2:6], torch.tensor([0.75, 1.25, 1.75, 2.25]), atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("name", "layer", "size", "says"),
    [
        ("vit_b_16", "12", 64, "its blocks: 0 to 11"),
        ("vit_b_32", "", 48, "no multiple of the side of a patch of vit_b_32, 32"),
        ("resnet18", "layer9", 64, "its parts: conv1, layer1, layer2, layer3, layer4"),
        ("alexnet", "", 32, "takes no films of 32 pixels"),
    ],
)
def test_a_layer_or_size_that_cannot_be_is_told(name, layer, size, says):
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=says):
        torchvision_encoder(name, layer, side=size)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("resnet18", ["conv1", "layer1", "layer2", "layer3", "layer4"]),
        (
            "densenet121",
            ["features.conv0"]
            + [f"features.{kind}{n}" for n in (1, 2, 3) for kind in ("denseblock", "transition")]
            + ["features.denseblock4"],
        ),
        ("convnext_tiny", [f"features.{n}" for n in range(8)]),
        ("vit_b_32", ["stem"] + [f"encoder.layers.encoder_layer_{n}" for n in range(12)]),
    ],
)
def test_every_parameter_is_in_one_block_in_order(name, blocks):
    from torchvision.models import get_model

    from mmil_cli.core.encoders.blocks import blocks_of

    with torch.device("meta"):
        network = get_model(name, weights=None)
    found = blocks_of(network)
    heads = ("classifier.2",)
    assert [block.name for block in found if block.name not in heads] == blocks
    assert [id(p) for block in found for p in block.parameters] == [id(p) for p in network.parameters()]


def test_the_blocks_of_text_towers_are_their_layers():
    from transformers import BertConfig, BertModel

    from mmil_cli.core.encoders.blocks import blocks_of
    from mmil_cli.core.encoders.text import HuggingFaceText, SmallTransformer

    small = SmallTransformer(vocabulary_size=9, width=8, num_layers=2, num_heads=2)
    assert [block.name for block in blocks_of(small)] == ["stem", "blocks.layers.0", "blocks.layers.1"]
    config = BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8
    )
    names = [block.name for block in blocks_of(HuggingFaceText(BertModel(config)))]
    assert names == ["stem", "encoder.layer.0", "encoder.layer.1"]


def test_unfolded_norms_leave_the_function_alone_and_have_the_statistics_of_their_input():
    from mmil_cli.core.encoders.folded_norms import has_folded_norms, measure_norms

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Conv2d(3, 4, 3),
        torch.nn.BatchNorm2d(4),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for norm in (network[1], network[4]):
            norm.bias.normal_()
    films = torch.randn(20, 1, 12, 12) * 3 + 5
    with torch.no_grad():
        before, inner = network(films), network[0](films)
        assert has_folded_norms(network)
        assert measure_norms(network, lambda: [network(films[:8]), network(films[8:])]) == 2
        torch.testing.assert_close(network(films), before, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(network[1].running_mean, inner.mean(dim=(0, 2, 3)))
        torch.testing.assert_close(
            network[1].running_var, inner.var(dim=(0, 2, 3), correction=0), atol=1e-4, rtol=1e-4
        )
        assert not has_folded_norms(network)
        torch.testing.assert_close(network.train()(films), before, atol=1e-3, rtol=1e-3)
