"""The heads of a probe: attention over regions against a loop, padding, frozen layers."""

import pytest
import torch
from torch import nn


@pytest.fixture
def bags():
    generator = torch.Generator().manual_seed(0)
    regions = nn.functional.normalize(torch.randn(3, 7, 8, generator=generator), dim=-1)
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[1, 4:] = False
    return regions, mask


def make_head(num_outputs=2):
    from mmil_cli.core.heads import AttentionHead

    torch.manual_seed(1)
    return AttentionHead(8, num_outputs, hidden=5)


def test_attention_equals_the_loop(bags):
    regions, mask = bags
    head = make_head()
    logits = head(regions, mask)
    for image in range(3):
        real = regions[image, mask[image]] * 8**0.5
        hidden = torch.tanh(head.content(real)) * torch.sigmoid(head.gate(real))
        for output in range(2):
            weights = torch.softmax(hidden @ head.attention.weight[output], dim=0)
            pooled = weights @ real
            expected = pooled @ head.classifier.weight[output] + head.classifier.bias[output]
            torch.testing.assert_close(logits[image, output], expected)


def test_weights_are_a_distribution_over_real_regions(bags):
    regions, mask = bags
    weights = make_head().weights(regions, mask)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, 2))
    assert (weights[~mask] == 0).all()


def test_padding_and_order_of_regions_change_nothing(bags):
    regions, mask = bags
    head = make_head()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(head(regions[:, order], mask[:, order]), head(regions, mask))
    padded = torch.cat([regions, torch.ones(3, 2, 8)], dim=1)
    padded_mask = torch.cat([mask, torch.zeros(3, 2, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(head(padded, padded_mask), head(regions, mask))


def test_an_image_without_regions_gets_the_biases(bags):
    regions, mask = bags
    head = make_head()
    torch.testing.assert_close(head(regions, mask & False), head.classifier.bias.expand(3, 2))


def test_every_parameter_of_the_head_gets_a_gradient(bags):
    head = make_head()
    head(*bags).square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def make_classifier(frozen_below=""):
    from mmil_cli.core.encoders.small_resnet import SmallResNet
    from mmil_cli.core.heads import FilmClassifier

    torch.manual_seed(0)
    return FilmClassifier(SmallResNet(widths=(4, 8), blocks=1), 3, frozen_below=frozen_below)


FILMS = torch.linspace(-1, 1, 2 * 32 * 32).view(2, 1, 32, 32)
COVER = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.0, 0.75, 1.0]])


def test_the_classifier_reads_what_the_model_pools():
    """Its features are those that a linear probe of the whole model gets."""
    from mmil_cli.core.model import average_of_film, covered_regions

    classifier = make_classifier().eval()
    feature_map = classifier.encoder(FILMS)
    mask = covered_regions(COVER, 4, 4, centre=0.5)
    assert mask.sum(dim=1).tolist() == [16, 8]
    pooled = average_of_film(feature_map.flatten(2).transpose(1, 2), mask)
    torch.testing.assert_close(pooled[1], feature_map[1, :, :, 1:3].mean(dim=(1, 2)))
    torch.testing.assert_close(classifier(FILMS, COVER), classifier.head(pooled))


@pytest.mark.parametrize(("layer", "frozen"), [("", 0), ("stages", 1), ("stages.1", 2)])
def test_layers_before_the_named_one_stay_as_they_are(layer, frozen):
    classifier = make_classifier(layer)
    parts = [classifier.encoder.stem, *classifier.encoder.stages]
    before = [{name: value.clone() for name, value in part.state_dict().items()} for part in parts]
    optimiser = torch.optim.SGD((p for p in classifier.parameters() if p.requires_grad), lr=0.1)
    classifier.train()
    classifier(FILMS, COVER).square().sum().backward()
    optimiser.step()
    for place, part in enumerate(parts):
        same = all(torch.equal(value, before[place][name]) for name, value in part.state_dict().items())
        assert same == (place < frozen), place  # running statistics of norms too


def test_an_unknown_layer_is_refused_and_layers_have_names():
    from mmil_cli.core.encoders.torchvision_backbone import TorchvisionBackbone
    from mmil_cli.core.heads import FilmClassifier, layer_names

    with pytest.raises(KeyError):
        make_classifier("layer4")
    assert layer_names(make_classifier().encoder) == ["stem.0", "stem.1", "stages.0", "stages.1"]
    backbone = TorchvisionBackbone("resnet18", layer="layer2")
    assert {"conv1", "layer1.0", "layer2.1"} <= set(layer_names(backbone))
    classifier = FilmClassifier(backbone, 1, frozen_below="layer2")
    trained = {name.split(".")[1] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"layer2"}
    assert classifier.head.weight.requires_grad
