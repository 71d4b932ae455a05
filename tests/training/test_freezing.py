"""What is frozen and until when, and how fast each block of a tower learns."""

import pytest
import torch


def tower():
    torch.manual_seed(0)
    layers = [("conv1", torch.nn.Conv2d(1, 2, 3)), ("bn1", torch.nn.BatchNorm2d(2))]
    layers += [(f"layer{n}", torch.nn.Conv2d(2, 2, 3)) for n in (1, 2, 3)]
    network = torch.nn.Sequential()
    for name, layer in layers:
        network.add_module(name, layer)
    return network


def freeze(network, what, *, thaw=None, num_steps=10):
    from mmil_cli.training.freezing import frozen_part

    return frozen_part(network, key="image.freeze", freeze=what, thaw=thaw, num_steps=num_steps)


def learning(network):
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("none", {"conv1", "bn1", "layer1", "layer2", "layer3"}),
        ("layer2", {"layer2", "layer3"}),
        ("all", set()),
    ],
)
def test_what_lies_below_the_named_block_is_frozen(what, left):
    network = tower()
    freeze(network, what).set(0)
    assert {name.split(".")[0] for name in learning(network)} == left


def test_frozen_blocks_thaw_after_their_share_of_the_steps_and_only_the_step_counts():
    network = tower()
    part = freeze(network, "all", thaw=0.3)
    for step, learns in ((9, True), (2, False), (3, True), (0, False)):
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        part.set(step)
        assert bool(learning(network)) == learns
        assert all((parameter.grad is not None) == learns for parameter in network.parameters())


@pytest.mark.parametrize("what", ["layer9", "conv1", "layer1.weight"])
def test_a_block_that_is_not_there_is_told_with_those_that_are(what):
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=r"image\.freeze: .* give none, all, .*: layer1, layer2, layer3"):
        freeze(tower(), what)


def test_each_block_learns_slower_than_the_one_above():
    from mmil_cli.training.freezing import tower_rates

    network = tower()
    rates = {
        id(p): lr for parameters, lr in tower_rates(network, lr=0.8, layer_decay=0.5) for p in parameters
    }
    found = {name: rates.pop(id(parameter)) for name, parameter in network.named_parameters()}
    assert rates == {}
    for layer, lr in (("layer3", 0.8), ("layer2", 0.4), ("layer1", 0.2), ("bn1", 0.1), ("conv1", 0.1)):
        assert found[f"{layer}.weight"] == found[f"{layer}.bias"] == pytest.approx(lr)


def test_frozen_modules_of_a_model_stay_in_evaluation_mode():
    from mmil_cli.build import build_model
    from mmil_cli.config.load import check

    tree = {"image": {"widths": [4, 8, 8]}, "text": {"width": 8, "heads": 2, "layers": 2}}
    model = build_model(check(tree, where="test"), vocabulary_size=50)
    freeze(model.image_encoder, "stages.1").set(0)
    model.train()
    assert not model.image_encoder.stem.training
    assert not model.image_encoder.stages[0].norm1.training
    assert model.image_encoder.stages[1].norm1.training
    assert model.text_encoder.blocks.layers[1].dropout.training
    freeze(model.text_encoder, "all").set(0)
    model.train()
    assert not any(module.training for module in model.text_encoder.modules())
    assert model.training
