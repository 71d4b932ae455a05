"""Weights of an image encoder from every kind of source, strictly, with what was used and what was not."""

import json

import pytest
import torch
from safetensors.torch import save_file


def encoder_of(name, *, layer="", size=64):
    from mmil_cli.build import build_image_encoder
    from mmil_cli.config.load import check

    return build_image_encoder(
        check({"image": {"encoder": str(name), "layer": layer, "size": size}}, where="test").image
    )


def load(encoder, source, *, name="resnet18", layer=""):
    from mmil_cli.weights import load_image_weights

    return load_image_weights(encoder, name=name, source=str(source), layer=layer)


@pytest.fixture(scope="module")
def resnet():
    """Tensors of a torchvision ResNet-18 with a classifier of its own size."""
    from torchvision.models import get_model

    torch.manual_seed(1)
    return get_model("resnet18", weights=None, num_classes=14).state_dict()


def wrapped(tensors, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def save_as(form, tensors, folder):
    """One of the shapes that weights come in; its path."""
    if form == "safetensors":
        save_file(tensors, folder / "a.safetensors")
        return folder / "a.safetensors"
    if form == "folder":
        save_file(tensors, folder / "model.safetensors")
        return folder
    content = {"nested": {"state_dict": wrapped(tensors, "module."), "epoch": 3}}.get(form, tensors)
    torch.save(content, folder / "a.pth")
    return folder / "a.pth"


@pytest.mark.parametrize("form", ["safetensors", "folder", "plain", "nested"])
def test_a_state_dict_is_found_in_whatever_it_is_kept(resnet, tmp_path, form):
    encoder = encoder_of("resnet18", layer="layer2")
    found = load(encoder, save_as(form, resnet, tmp_path))
    own = encoder.body.state_dict()
    assert found.num_loaded == len(own)
    assert {name.split(".")[0] for name in found.unused} == {"layer3", "layer4", "fc"}
    assert found.adapted == ("conv1.weight summed over its colours",)
    assert f"{len(own)} tensors from" in str(found)
    torch.testing.assert_close(own["conv1.weight"], resnet["conv1.weight"].sum(dim=1, keepdim=True))
    assert torch.equal(own["layer2.1.conv2.weight"], resnet["layer2.1.conv2.weight"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors: tensors.pop("layer1.0.conv1.weight"), r"missing: layer1\.0\.conv1\.weight"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "unexpected: extra"),
        (lambda tensors: tensors.update({"bn1.bias": torch.zeros(3)}), r"mis-shaped: bn1\.bias \(3,\) for"),
    ],
)
def test_what_does_not_match_is_listed_and_nothing_is_loaded(resnet, tmp_path, change, says):
    from mmil_cli.errors import CheckpointError

    tensors = dict(resnet)
    change(tensors)
    encoder = encoder_of("resnet18")
    before = encoder.body.state_dict()["layer4.0.conv1.weight"].clone()
    with pytest.raises(CheckpointError, match=says):
        load(encoder, save_as("safetensors", tensors, tmp_path))
    assert torch.equal(encoder.body.state_dict()["layer4.0.conv1.weight"], before)


TIMM = {
    "resnet50": "resnet50",
    "densenet121": "densenet121",
    "vit_b_16": "vit_base_patch16_224",
    "convnext_tiny": "convnext_tiny",
    "mobilenet_v2": "mobilenetv2_100",
}


@pytest.mark.parametrize("name", TIMM)
def test_every_tensor_of_timm_has_its_place_and_shape(name):
    import timm
    from torchvision.models import get_model

    from mmil_cli.core.encoders.timm_names import as_torchvision

    with torch.device("meta"):
        tensors = timm.create_model(TIMM[name]).state_dict()
        wanted = get_model(name, weights=None).state_dict()
    found = as_torchvision(tensors, name=name) or tensors
    assert {key: x.shape for key, x in found.items()} == {key: x.shape for key, x in wanted.items()}


def timm_network(name, **options):
    """A network of timm with statistics and scales as if it had been trained."""
    import timm

    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3, **options).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


@pytest.mark.parametrize(
    ("name", "layer", "timm_name", "options"),
    [
        ("mobilenet_v2", "", "mobilenetv2_100", {}),
        ("vit_b_32", "0", "vit_base_patch32_224", {"depth": 1}),
    ],
)
def test_an_encoder_with_the_weights_of_timm_computes_the_same(tmp_path, name, layer, timm_name, options):
    network = timm_network(timm_name, **options)
    size = 224 if name.startswith("vit") else 64
    encoder = encoder_of(name, layer=layer, size=size).eval()
    found = load(encoder, save_as("safetensors", network.state_dict(), tmp_path), name=name)
    assert all("head" in key or "classifier" in key for key in found.unused)
    films = torch.randn(1, 1, size, size)
    with torch.no_grad():
        expected = network.forward_features(films.expand(-1, 3, -1, -1))
        if expected.dim() == 3:
            expected = expected[:, 1:].transpose(1, 2).unflatten(2, (7, 7))
        torch.testing.assert_close(encoder(films), expected, atol=2e-3, rtol=1e-3)


def test_positions_of_a_larger_grid_are_interpolated_and_it_is_said(tmp_path):
    network = timm_network("vit_base_patch32_224", depth=1, img_size=384)
    encoder = encoder_of("vit_b_32", layer="0")
    found = load(encoder, save_as("safetensors", network.state_dict(), tmp_path), name="vit_b_32")
    assert "encoder.pos_embedding interpolated from 144 places to 49" in found.adapted
    assert encoder.body.encoder.pos_embedding.shape == (1, 50, 768)


def make_vit(folder, **changes):
    """A small Hugging Face ViT in a folder, and the network."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    options = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    network = ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **options, **changes))
    network.save_pretrained(folder)
    stated = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.1, 0.2, 0.3]}
    (folder / "preprocessor_config.json").write_text(json.dumps(stated))
    return network


def test_a_hugging_face_folder_gives_its_weights_and_its_normalisation(tmp_path):
    from mmil_cli.weights import origin_normalisation

    network = make_vit(tmp_path / "vit")
    encoder = encoder_of(tmp_path / "vit").eval()
    found = load(encoder, "auto", name=str(tmp_path / "vit"))
    assert found.unused == ("classifier.bias", "classifier.weight")
    films = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        states = (
            network.eval()
            .vit(pixel_values=films.expand(-1, 3, -1, -1), interpolate_pos_encoding=True)
            .last_hidden_state
        )
        expected = states[:, 1:].transpose(1, 2).unflatten(2, (8, 8))
        torch.testing.assert_close(encoder(films), expected, atol=1e-5, rtol=1e-4)
    mean, std = origin_normalisation(name=str(tmp_path / "vit"), source="auto")
    assert (mean, std) == pytest.approx((0.5, 0.2))


def test_a_hugging_face_model_is_cut_after_a_block(tmp_path):
    from mmil_cli.errors import UsageError

    make_vit(tmp_path / "vit")
    encoder = encoder_of(tmp_path / "vit", layer="0")
    found = load(encoder, "auto", name=str(tmp_path / "vit"), layer="0")
    assert encoder.body.config.num_hidden_layers == 1
    assert any("layers.1." in name for name in found.unused)
    with pytest.raises(UsageError, match="its blocks: 0 to 1"):
        encoder_of(tmp_path / "vit", layer="2")


def test_a_model_without_all_its_weights_is_refused(tmp_path):
    from safetensors.torch import load_file

    from mmil_cli.errors import UsageError

    make_vit(tmp_path / "vit")
    path = tmp_path / "vit" / "model.safetensors"
    tensors = {name: x for name, x in load_file(path).items() if "cls_token" not in name}
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"lacks tensors of the model: embeddings\.cls_token"):
        load(encoder_of(tmp_path / "vit"), "auto", name=str(tmp_path / "vit"))


def test_torchvision_states_how_its_films_were_normalised():
    from mmil_cli.weights import origin_normalisation

    assert origin_normalisation(name="resnet50", source="torchvision") == pytest.approx(
        (0.449, 0.226), abs=1e-3
    )
    assert origin_normalisation(name="small", source="none") == (0.5, 0.25)
    assert origin_normalisation(name="resnet50", source="somewhere.pth") == (0.5, 0.25)


@pytest.mark.parametrize(
    ("name", "source", "says"),
    [
        ("resnet18", "nowhere.safetensors", "no file nowhere.safetensors; give a .safetensors"),
        ("resnet18", "nobody/no-such-model", "download model.safetensors where there is a network"),
    ],
)
def test_a_source_that_cannot_be_had_says_the_local_way(monkeypatch, name, source, says):
    from mmil_cli.errors import UsageError

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=says):
        load(encoder_of(name), source, name=name)


def test_an_image_encoder_that_cannot_be_had_says_the_local_way(monkeypatch):
    from mmil_cli.errors import UsageError

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"image\.encoder: .* give its folder"):
        encoder_of("nobody/no-such-vit")


def test_an_empty_folder_is_no_source(tmp_path):
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=r"has none of model\.safetensors, pytorch_model\.bin"):
        load(encoder_of("resnet18"), tmp_path)
