"""`mmil export`: what other programs open computes what our towers compute, or is not kept."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

SENTENCES = ("There is a bright square in the left upper corner.", "No square.")


def invoke(*arguments):
    from mmil_cli.cli.app import app

    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture(scope="module")
def onnx_folder(tiny_run, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path_factory.mktemp("onnx") / "deep" / "out"
    outcome = invoke(tiny_run, "--to", "onnx", "--out", out)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.splitlines()[-1] == f"written: {out}"
    return out


def test_the_onnx_file_gives_the_features_of_the_model_for_any_batch(onnx_folder, tiny_run, tiny_table):
    import onnxruntime

    import mmil_cli
    from mmil_cli.build import load_checkpoint
    from mmil_cli.stages.film import open_film

    session = onnxruntime.InferenceSession(str(onnx_folder / "image.onnx"))
    embedder = load_checkpoint(tiny_run, device="cpu").embedder
    for count in (1, 5):
        files = [tiny_table.parent / f"film{number:03}.png" for number in range(count)]
        opened = [open_film(file, embedder).fitted for file in files]
        given = {
            "films": np.stack([film.pixels for film in opened]),
            "cover": np.array([film.cover for film in opened], np.float32),
        }
        regions, mask, pooled, embedding = session.run(None, given)
        expected = mmil_cli.load(tiny_run, device="cpu").embed_images(files)
        np.testing.assert_allclose(regions, expected.regions, atol=1e-5)
        np.testing.assert_array_equal(mask, expected.mask)
        np.testing.assert_allclose(pooled, expected.pooled, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(embedding, expected.embedding, atol=1e-5)


def test_the_record_beside_it_says_how_to_use_it(onnx_folder, tiny_run):
    record = json.loads((onnx_folder / "mmil.json").read_text())
    assert record["image_contract"]["size"] == 64
    assert record["grid"] == {"rows": 8, "columns": 8}
    assert 0 <= record["largest_difference"]["image"] < 1e-4
    assert len(record["checkpoint"]["weights_sha256"]) == 64
    assert {path.name for path in onnx_folder.iterdir()} == {"image.onnx", "mmil.json"}


def test_a_file_that_computes_something_else_is_not_kept(tiny_run, tmp_path, monkeypatch):
    from mmil_cli.stages import export_onnx

    def write_another(tower, contract, path):
        path.write_bytes(b"")
        return 18

    monkeypatch.setattr(export_onnx, "_write", write_another)
    monkeypatch.setattr(export_onnx, "_compare", lambda *_: export_onnx.checked(0.5))
    outcome = invoke(tiny_run, "--to", "onnx", "--out", tmp_path / "out")
    assert outcome.exit_code == 1
    assert "differs from PyTorch by 0.5" in str(outcome.exception)
    assert list(tmp_path.iterdir()) == []


def test_differences_are_seen_in_every_output():
    from mmil_cli.errors import MmilError
    from mmil_cli.stages.export_onnx import checked, difference

    good = {
        "regions": np.ones((1, 2, 3)),
        "mask": np.array([[True, False]]),
        "pooled": np.full((1, 4), 8.0),
        "embedding": np.ones((1, 3)),
    }
    assert difference(good, good) == 0
    assert difference(good | {"regions": good["regions"] + 0.5}, good) == pytest.approx(0.5)
    assert difference(good | {"embedding": good["embedding"] - 0.25}, good) == pytest.approx(0.25)
    assert difference(good | {"pooled": good["pooled"] + 2}, good) == pytest.approx(0.25)
    assert difference(good | {"mask": ~good["mask"]}, good) == float("inf")
    assert difference(good | {"regions": np.ones((1, 3, 3))}, good) == float("inf")
    for name in ("regions", "embedding", "pooled"):
        assert np.isnan(difference(good | {name: good[name] * np.nan}, good))
    with pytest.raises(MmilError, match="differs from PyTorch by nan"):
        checked(float("nan"))


@pytest.fixture(scope="module")
def text_folder(tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("text") / "out"
    outcome = invoke(tiny_run, "--to", "huggingface", "--tower", "text", "--out", out)
    assert outcome.exit_code == 0, outcome.output
    return out


@torch.inference_mode()
def test_the_text_folder_gives_the_sentences_of_the_model_by_transformers_alone(text_folder, tiny_run):
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    import mmil_cli

    assert {path.name for path in text_folder.iterdir()} == {"text", "mmil.json"}
    folder = text_folder / "text"
    inputs = AutoTokenizer.from_pretrained(folder)(list(SENTENCES), padding=True, return_tensors="pt")
    states = AutoModel.from_pretrained(folder)(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    pooled = (states * mask).sum(dim=1) / mask.sum(dim=1)
    layer = load_file(folder / "projection.safetensors")
    projected = pooled @ layer["layers.weight"].T + layer["layers.bias"]
    found = torch.nn.functional.normalize(projected, dim=-1)
    expected = mmil_cli.load(tiny_run, device="cpu").embed_texts(SENTENCES).embedding
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    assert "pooled by mean" in json.loads((text_folder / "mmil.json").read_text())["towers"]["text"]


@pytest.mark.parametrize("heads", [1, 2])
def test_our_transformer_is_that_of_megatron(heads):
    from mmil_cli.core.encoders.text import SmallTransformer
    from mmil_cli.stages.export_text import megatron_bert

    ours = SmallTransformer(vocabulary_size=20, width=8, num_layers=3, num_heads=heads, max_tokens=9).eval()
    for parameter in ours.parameters():  # biases and norms too must matter
        torch.nn.init.normal_(parameter)
    theirs = megatron_bert(ours, padding=0)
    tokens = torch.randint(1, 20, (4, 9))
    mask = torch.arange(9) < torch.tensor([[9], [5], [2], [1]])
    with torch.inference_mode():
        expected = ours(tokens, mask)
        found = theirs(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-4, rtol=1e-4)
    assert expected[mask].std() > 0.1


def test_an_encoder_of_hugging_face_comes_back_as_it_is(tmp_path):
    from transformers import AutoModel, BertConfig, BertModel

    from mmil_cli.core.encoders.text import HuggingFaceText
    from mmil_cli.data.tokenizer import SentenceTokenizer, learn_wordpiece
    from mmil_cli.stages.export_text import SAMPLES, write_text_tower

    tokenizer = SentenceTokenizer(learn_wordpiece(SAMPLES, vocabulary_size=200), max_tokens=16)
    config = BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
    )
    assert write_text_tower(HuggingFaceText(BertModel(config)), tokenizer, tmp_path) < 1e-5
    assert type(AutoModel.from_pretrained(tmp_path)).__name__ == "BertModel"


def test_a_text_folder_with_another_network_in_it_is_seen(tmp_path, monkeypatch):
    from mmil_cli.core.encoders.text import SmallTransformer
    from mmil_cli.data.tokenizer import SentenceTokenizer, learn_wordpiece
    from mmil_cli.stages import export_text

    tokenizer = SentenceTokenizer(learn_wordpiece(export_text.SAMPLES, vocabulary_size=200), max_tokens=16)
    ours, another = (
        SmallTransformer(
            vocabulary_size=tokenizer.vocabulary_size, width=8, num_layers=1, num_heads=2, max_tokens=16
        )
        for _ in range(2)
    )
    network = export_text.megatron_bert(another, padding=0)
    monkeypatch.setattr(export_text, "megatron_bert", lambda *_, **__: network)
    assert export_text.write_text_tower(ours, tokenizer, tmp_path) > 0.1


@pytest.mark.parametrize(
    ("name", "layer", "kind"),
    [
        ("resnet18", "", "ResNetModel"),
        ("resnet50", "layer2", "ResNetModel"),
        ("convnext_tiny", "features.3", "ConvNextModel"),
    ],
)
def test_networks_of_torchvision_are_those_of_transformers(name, layer, kind, tmp_path):
    from transformers import AutoModel

    encoder = random_backbone(name, layer)
    from mmil_cli.stages.export_image import write_image_tower

    assert write_image_tower(encoder, tmp_path, name=name, contract=contract(size=64)) < 1e-5
    opened = AutoModel.from_pretrained(tmp_path)
    assert type(opened).__name__ == kind
    with torch.inference_mode():
        film = torch.randn(1, 1, 64, 64)
        wanted = opened(film.expand(-1, opened.config.num_channels, -1, -1)).last_hidden_state
        torch.testing.assert_close(encoder(film), wanted, atol=1e-3, rtol=1e-3)


def random_backbone(name, layer):
    """A network whose norms have learned something: at their start some layers do nothing."""
    from mmil_cli.core.encoders.torchvision_backbone import TorchvisionBackbone

    torch.manual_seed(0)
    encoder = TorchvisionBackbone(name, layer=layer).eval()
    for parameter in encoder.parameters():
        if parameter.dim() == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1)
    for buffer in encoder.buffers():
        if buffer.dtype == torch.float32:
            torch.nn.init.uniform_(buffer, 0.5, 1)
    return encoder


def contract(*, size):
    from mmil_cli.inference import ImageContract

    return ImageContract(stored_side=256, size=size, fit="pad", mean=0.45, std=0.225)


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "layer2.0.relu"), ("mobilenet_v2", "features.6")])
def test_an_image_tower_without_a_counterpart_is_refused(name, layer, tmp_path):
    from mmil_cli.errors import UsageError
    from mmil_cli.stages.export_image import write_image_tower

    with pytest.raises(UsageError, match=rf"image.encoder={name}\); what can be exported"):
        write_image_tower(random_backbone(name, layer), tmp_path, name=name, contract=contract(size=64))


def test_the_small_image_tower_is_refused_and_nothing_is_written(tiny_run, tmp_path):
    outcome = invoke(tiny_run, "--to", "huggingface", "--out", tmp_path / "out")
    assert outcome.exit_code == 1 or outcome.exception.exit_code == 2
    assert "give --tower text for the other tower, or --to onnx" in str(outcome.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--to", "onnx", "--tower", "text"), "for the text tower give --to huggingface"),
        (("--to", "onnx", "--tower", "both"), "writes the image tower alone"),
    ],
)
def test_what_cannot_be_asked_together_is_refused(arguments, sentence, tmp_path):
    outcome = invoke(tmp_path, *arguments, "--out", tmp_path / "out")
    assert sentence in str(outcome.exception)


def test_a_folder_of_something_else_is_left_alone(tiny_run, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    outcome = invoke(tiny_run, "--to", "huggingface", "--tower", "text", "--out", tmp_path)
    assert "holds other files" in str(outcome.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_older_export_is_replaced(text_folder, tiny_run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mmil.json").write_text("{}")
    (out / "image.onnx").write_text("older")
    assert invoke(tiny_run, "--to", "huggingface", "--tower", "text", "--out", out).exit_code == 0
    assert {path.name for path in out.iterdir()} == {"text", "mmil.json"}


def test_a_missing_package_is_told_before_the_work(tiny_run, tmp_path, monkeypatch):
    from mmil_cli.stages import export_onnx

    monkeypatch.setattr(export_onnx, "NEEDED", ("onnx", "no_such_package"))
    outcome = invoke(tiny_run, "--to", "onnx", "--out", tmp_path / "out")
    assert str(outcome.exception) == (
        "--to onnx needs no_such_package; install the extra: pip install 'mmil[export]'"
    )
    assert not Path(tmp_path / "out").exists()
