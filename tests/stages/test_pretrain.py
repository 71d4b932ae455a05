"""Pretraining: it learns, it resumes to the same bytes, and every knob does something."""

import hashlib
import json

import pytest

TINY = (
    "data.batch_size=8",
    "data.workers=0",
    "image.size=32",
    "image.widths=[4, 8]",
    "text.width=8",
    "text.heads=2",
    "text.layers=1",
    "projection.dim=8",
    "optim.epochs=1",
    "run.precision=fp32",
    "run.save_every=2",
)


def tiny_recipe(*overrides):
    from mmil_cli.config.load import load_recipe

    return load_recipe(None, overrides=[*TINY, *overrides])


def pretrain(data, out, *overrides, **options):
    from mmil_cli.stages.pretrain import run

    return run(data, out, recipe=tiny_recipe(*overrides), device="cpu", **options)


def weights_hash(result):
    return hashlib.sha256((result.checkpoint / "model.safetensors").read_bytes()).hexdigest()


class PlugPulled(Exception):
    """Stands for whatever ends a process between two steps."""


def stop_after(step):
    from mmil_cli.stages.pretrain import Watchers

    def watch(progress):
        if progress.step == step:
            raise PlugPulled

    return Watchers(on_step=watch)


def test_learns_to_match_films_and_reports(tiny_run):
    entries = [json.loads(line) for line in (tiny_run / "log.jsonl").read_text().splitlines()]
    last = [entry for entry in entries if entry["kind"] == "validate"][-1]
    assert last["loss"] < 0.8 * last["chance_loss"]


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_an_interrupted_run_ends_with_the_same_bytes(tiny_dataset, tmp_path, step):
    undisturbed = pretrain(tiny_dataset, tmp_path / "whole")
    assert undisturbed.num_steps > 5
    with pytest.raises(PlugPulled):
        pretrain(tiny_dataset, tmp_path / "broken", watchers=stop_after(step))
    resumed = pretrain(tiny_dataset, tmp_path / "broken")
    assert resumed.resumed_at == (step - 1) // 2 * 2  # the step stopped at was not saved yet
    assert weights_hash(resumed) == weights_hash(undisturbed)
    assert resumed.metrics == undisturbed.metrics
    assert not (tmp_path / "broken" / "state.pt").exists()


def test_a_run_stopped_after_a_validation_on_the_way_is_not_taken_for_finished(tiny_dataset, tmp_path):
    options = ("optim.epochs=2", "run.validate_every=1", "run.save_every=1000")
    first_epoch = pretrain(tiny_dataset, tmp_path / "one").num_steps
    with pytest.raises(PlugPulled):
        pretrain(tiny_dataset, tmp_path / "run", *options, watchers=stop_after(first_epoch + 1))
    assert (tmp_path / "run" / "checkpoint").is_dir()
    result = pretrain(tiny_dataset, tmp_path / "run", *options)
    assert (result.resumed_at, result.num_steps) == (0, 2 * first_epoch)


def test_workers_change_nothing(tiny_dataset, tmp_path):
    results = [
        pretrain(tiny_dataset, tmp_path / str(workers), f"data.workers={workers}") for workers in (0, 2)
    ]
    assert weights_hash(results[0]) == weights_hash(results[1])


def test_a_finished_run_is_left_alone_and_another_is_refused(tiny_dataset, tmp_path):
    from mmil_cli.errors import UsageError

    first = pretrain(tiny_dataset, tmp_path / "run")
    again = pretrain(tiny_dataset, tmp_path / "run")
    assert again.resumed_at == again.num_steps == first.num_steps
    with pytest.raises(UsageError, match="another recipe"):
        pretrain(tiny_dataset, tmp_path / "run", "run.seed=1")
    replaced = pretrain(tiny_dataset, tmp_path / "run", "run.seed=1", overwrite=True)
    assert weights_hash(replaced) != weights_hash(first) or replaced.resumed_at == 0


def test_the_card_says_where_the_checkpoint_comes_from(tiny_run, tiny_dataset):
    from mmil_cli.checkpoint import open_checkpoint
    from mmil_cli.data.dataset import StudyDataset

    card = open_checkpoint(tiny_run).card
    info = StudyDataset.open(tiny_dataset).info
    assert card.dataset_hash == info.content_hash
    assert card.image["stored_side"] == info.side
    assert card.label_names == info.label_names
    assert card.stage == "pretrain"


KNOBS = [
    "data.batch_size=9",
    "data.films=bag",
    "data.chunk=3",
    "data.max_sentences=1",
    "image.widths=[4, 6]",
    "image.blocks=2",
    "image.size=48",
    "image.mean=0.4",
    "image.std=0.5",
    "text.unit=report",
    "text.pool=first",
    "image.freeze=all",
    "image.freeze=stages.1",
    "text.freeze=all",
    "text.freeze=blocks.layers.0",
    "text.width=12",
    "text.layers=2",
    "text.heads=1",
    "text.dropout=0.5",
    "text.max_tokens=4",
    "text.vocabulary_size=60",
    "projection.dim=6",
    "projection.hidden_dim=5",
    "score.expression=max",
    "score.expression=lse(gamma=3)+nl",
    "score.critic=bilinear",
    "score.sentences=max",
    "score.objective=sigmoid",
    "score.temperature=0.3",
    "score.temperature=auto",
    "score.learn_temperature=false",
    "score.same_group=positive",
    "augment.rotate=30",
    "augment.shift=0.2",
    "augment.scale=0.4",
    "augment.crop=0.4",
    "augment.flip=0.5",
    "augment.blur=0.05",
    "augment.noise=0.3",
    "augment.brightness=0.5",
    "augment.contrast=0.7",
    "augment.erase=0.5",
    "optim.epochs=2",
    "optim.optimiser=muon",
    "optim.lr=0.01",
    "optim.text_lr=0.01",
    "optim.image_lr=0.01",
    "optim.layer_decay=0.5",
    "optim.weight_decay=0.5",
    "optim.warmup=0.5",
    "optim.grad_clip=0.01",
    "run.seed=5",
    "run.precision=bf16",
]
WATCHED = {"data.workers", "data.max_films", "image.thaw", "text.thaw", "run.start",
           "image.fit", "data.views", "image.encoder", "image.layer", "image.weights",
           "text.encoder", "run.shard",
           "text.vocabulary", "run.log_every", "run.log_to", "run.save_every", "run.save_minutes",
           "run.validate_every", "run.validate_films", "run.keep", "run.metric", "run.patience"}  # fmt: skip


@pytest.fixture(scope="module")
def reference(tiny_dataset, tmp_path_factory):
    return weights_hash(pretrain(tiny_dataset, tmp_path_factory.mktemp("reference") / "run"))


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_changes_the_outcome(tiny_dataset, reference, tmp_path, knob):
    assert weights_hash(pretrain(tiny_dataset, tmp_path / "run", knob)) != reference


def test_no_knob_is_without_a_test():
    from mmil_cli.config.recipe import Recipe

    names = {
        f"{section}.{key}"
        for section, field in Recipe.model_fields.items()
        for key in field.annotation.model_fields
    }
    assert names == {knob.split("=")[0] for knob in KNOBS} | WATCHED


def test_validation_sees_as_many_films_as_asked(tiny_dataset, tmp_path):
    few = pretrain(tiny_dataset, tmp_path / "few", "run.validate_films=3")
    all_of_them = pretrain(tiny_dataset, tmp_path / "all")
    assert few.metrics["chance_loss"] < all_of_them.metrics["chance_loss"]


def test_the_log_has_lines_and_validations_as_often_as_asked(tiny_dataset, tmp_path):
    result = pretrain(
        tiny_dataset, tmp_path / "run", "run.log_every=1", "run.validate_every=1", "optim.epochs=2"
    )
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    steps = [entry["step"] for entry in entries if entry["kind"] == "train"]
    assert steps == list(range(1, result.num_steps + 1))
    assert [entry["step"] for entry in entries if entry["kind"] == "validate"] == [
        result.num_steps // 2,
        result.num_steps,
    ]
    assert all(
        {
            "lse/image_to_text",
            "nl/logit_scale",
            "nl/effective_regions",
            "chance_loss",
            "image_spread",
            "text_spread",
            "learning_rate",
            "grad_norm",
            "grad_norm_image",
            "grad_norm_text",
            "waiting",
            "films_per_second",
            "memory_mib",
        }
        <= entry.keys()
        for entry in entries
        if entry["kind"] == "train"
    )


def test_a_batch_larger_than_the_split_is_refused_before_anything_is_written(tiny_dataset, tmp_path):
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=r"data.batch_size is 4000, but the train split .* films"):
        pretrain(tiny_dataset, tmp_path / "run", "data.batch_size=4000")
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_that_knows_none_of_the_words_is_refused(tiny_dataset, tmp_path):
    from mmil_cli.errors import UsageError

    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nbonjour\n")
    with pytest.raises(UsageError, match="knows only"):
        pretrain(tiny_dataset, tmp_path / "run", f"text.vocabulary={tmp_path / 'vocab.txt'}")


def test_a_given_vocabulary_is_used(tiny_dataset, tmp_path):
    from mmil_cli.checkpoint import open_checkpoint

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,-"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    result = pretrain(tiny_dataset, tmp_path / "run", f"text.vocabulary={tmp_path / 'vocab.txt'}")
    vocabulary = json.loads((open_checkpoint(result.checkpoint).tokenizer / "tokenizer.json").read_text())[
        "model"
    ]["vocab"]
    assert len(vocabulary) == len(words)


def test_torchvision_network_with_a_weight_file(tiny_dataset, tmp_path):
    import torch
    from safetensors.torch import save_file
    from torchvision.models import get_model

    from mmil_cli.build import load_checkpoint
    from mmil_cli.errors import CheckpointError, UsageError

    network = get_model("resnet18", weights=None)
    save_file(network.state_dict(), tmp_path / "resnet18.safetensors")
    options = ("image.encoder=resnet18", "image.layer=layer2", "optim.lr=1e-9", "optim.weight_decay=0")
    result = pretrain(
        tiny_dataset, tmp_path / "run", *options, f"image.weights={tmp_path / 'resnet18.safetensors'}"
    )
    assert result.weights.num_loaded > 50
    assert any(name.startswith("fc.") for name in result.weights.unused)
    body = load_checkpoint(tmp_path / "run").embedder.model.image_encoder.body.state_dict()
    gray = network.conv1.weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(body["conv1.weight"], gray, atol=1e-4, rtol=1e-3)

    partial = {name: value for name, value in network.state_dict().items() if name != "conv1.weight"}
    save_file(partial, tmp_path / "partial.safetensors")
    with pytest.raises(CheckpointError, match=r"missing: conv1\.weight"):
        pretrain(
            tiny_dataset, tmp_path / "partial", *options, f"image.weights={tmp_path / 'partial.safetensors'}"
        )
    with pytest.raises(UsageError, match="no file"):
        pretrain(tiny_dataset, tmp_path / "none", *options, "image.weights=nowhere.safetensors")


def test_hugging_face_text_encoder_from_a_folder(tiny_dataset, tmp_path):
    from transformers import BertConfig, BertModel

    from mmil_cli.build import load_checkpoint
    from mmil_cli.data.dataset import StudyDataset
    from mmil_cli.data.tokenizer import SentenceTokenizer, learn_wordpiece

    dataset = StudyDataset.open(tiny_dataset)
    sentences = [sentence for row in range(len(dataset)) for sentence in dataset.row(row).sentences]
    tokenizer = SentenceTokenizer(learn_wordpiece(sentences, vocabulary_size=300), max_tokens=32)
    config = BertConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    tokenizer.save(tmp_path / "bert")
    (tmp_path / "bert" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]"})
    )
    pretrain(tiny_dataset, tmp_path / "run", f"text.encoder={tmp_path / 'bert'}")
    loaded = load_checkpoint(tmp_path / "run")
    assert loaded.embedder.sentences(["a bright square on the left"]).features.shape == (1, 8)


def test_a_text_encoder_that_cannot_be_had_says_the_local_way(tiny_dataset, tmp_path, monkeypatch):
    from mmil_cli.errors import UsageError

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="download it where there is a network and give its folder"):
        pretrain(tiny_dataset, tmp_path / "run", "text.encoder=nobody/no-such-model")


@pytest.fixture(scope="module")
def wide_dataset(tmp_path_factory):
    """Films twice as wide as high, half of them PA and half AP."""
    import numpy as np
    from PIL import Image

    from mmil_cli.stages import preprocess

    folder = tmp_path_factory.mktemp("wide")
    generator = np.random.default_rng(0)
    lines = ["image,report,patient_id,split,view"]
    for number in range(16):
        pixels = generator.integers(0, 255, (48, 96), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(
            f"{number}.png,FINDINGS: Film of kind {number}.,{number},train,{('PA', 'AP')[number % 2]}"
        )
    (folder / "table.csv").write_text("\n".join(lines))
    preprocess.run(folder / "table.csv", folder / "data", side=96)
    return folder / "data"


def test_cropping_and_padding_show_different_films(wide_dataset, tmp_path):
    runs = [pretrain(wide_dataset, tmp_path / fit, f"image.fit={fit}") for fit in ("pad", "crop")]
    assert weights_hash(runs[0]) != weights_hash(runs[1])


def test_views_choose_the_films(wide_dataset, tmp_path):
    from mmil_cli.errors import UsageError

    assert pretrain(wide_dataset, tmp_path / "all").num_steps == 2
    assert pretrain(wide_dataset, tmp_path / "pa", "data.views=[PA]").num_steps == 1
    with pytest.raises(UsageError, match="no view LATERAL; it has: AP, PA"):
        pretrain(wide_dataset, tmp_path / "none", "data.views=[LATERAL]")


def test_a_dataset_without_a_validate_split_trains_all_the_same(wide_dataset, tmp_path):
    result = pretrain(wide_dataset, tmp_path / "run")
    assert result.metrics == {}
    assert result.checkpoint.is_dir()


def metrics_by_step(run):
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {entry["step"]: entry for entry in entries if entry["kind"] == "validate"}


EARLY = ("run.validate_every=1", "optim.epochs=4", "run.metric=text_to_image_r@5")
RECALLS = (0.1, 0.3, 0.3, 0.2)


@pytest.fixture(scope="module")
def kept(tiny_dataset, tmp_path_factory):
    """Runs whose validations come to given recalls."""
    from mmil_cli.stages import pretrain_run

    folder, found = tmp_path_factory.mktemp("kept"), {}
    options = {"last": EARLY[:-1], "best": (*EARLY, "run.keep=best"), "patient": (*EARLY, "run.patience=1")}
    for name in options:
        values = iter(RECALLS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                pretrain_run,
                "validate",
                lambda *_, values=values, **__: {"loss": 1.0, "text_to_image_r@5": next(values)},
            )
            found[name] = pretrain(tiny_dataset, folder / name, *options[name])
    return found


def test_the_best_checkpoint_by_the_metric_stays(kept):
    from mmil_cli.checkpoint import open_checkpoint

    seen = metrics_by_step(kept["best"].checkpoint.parent)
    assert seen == metrics_by_step(kept["last"].checkpoint.parent)
    assert [entry["text_to_image_r@5"] for entry in seen.values()] == list(RECALLS)
    cards = {name: open_checkpoint(kept[name].checkpoint).card for name in ("best", "last")}
    assert (cards["best"].step, cards["last"].step) == (list(seen)[1], list(seen)[3])
    assert {card.ended_at for card in cards.values()} == {kept["last"].num_steps}
    assert cards["best"].metrics == kept["best"].metrics == {"loss": 1.0, "text_to_image_r@5": 0.3}
    assert weights_hash(kept["best"]) != weights_hash(kept["last"])


def test_a_run_ends_when_its_patience_does_and_is_then_complete(kept, tiny_dataset):
    assert kept["patient"].num_steps == kept["last"].num_steps * 3 // 4  # the third is no better
    again = pretrain(tiny_dataset, kept["patient"].checkpoint.parent, *EARLY, "run.patience=1")
    assert again.resumed_at == again.num_steps == kept["patient"].num_steps


def test_a_metric_that_decides_nothing_or_is_not_there_is_refused(tiny_dataset, wide_dataset, tmp_path):
    from mmil_cli.errors import UsageError

    for data, options, says in (
        (tiny_dataset, ("run.metric=text_to_image_r@1",), "run.metric is for run.keep=best and run.patience"),
        (wide_dataset, ("run.keep=best",), "need a validate split"),
        (wide_dataset, ("run.patience=3",), "need a validate split"),
        (tiny_dataset, ("run.keep=best", "run.metric=zero_shot_auroc"), "choose another metric"),
    ):
        with pytest.raises(UsageError, match=says):
            pretrain(data, tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


def test_zero_shot_auroc_is_in_the_log_where_the_labels_have_prompts(tiny_dataset, tmp_path, monkeypatch):
    import tiny_studies

    from mmil_cli.config.prompts import Prompts
    from mmil_cli.stages import validation

    prompts = {
        f"{corner.title()} Square": Prompts(*(tuple(pair[sign]) for sign in ("positive", "negative")))
        for corner, pair in zip(tiny_studies.CORNERS, tiny_studies.PROMPTS.values(), strict=True)
    }
    monkeypatch.setattr(validation, "load_prompts", lambda name: prompts)
    result = pretrain(tiny_dataset, tmp_path / "run", "run.keep=best", "run.metric=zero_shot_auroc")
    assert 0 <= result.metrics["zero_shot_auroc"] <= 1
    monkeypatch.undo()
    assert "zero_shot_auroc" not in pretrain(tiny_dataset, tmp_path / "other").metrics


def test_tensorboard_files_are_written_and_its_absence_is_told(tiny_dataset, tmp_path, monkeypatch):
    import sys

    from mmil_cli.errors import UsageError

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tensorboard", None)
        with pytest.raises(UsageError, match="tensorboard is not installed"):
            pretrain(tiny_dataset, tmp_path / "run", "run.log_to=[tensorboard]")
        assert not (tmp_path / "run").exists()
    pytest.importorskip("tensorboard")
    pretrain(tiny_dataset, tmp_path / "run", "run.log_to=[tensorboard]")
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    pretrain(tiny_dataset, tmp_path / "run", "run.seed=3", overwrite=True)
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_the_command_line_sends_the_log_elsewhere(tiny_dataset, tmp_path, monkeypatch):
    import sys

    from typer.testing import CliRunner

    from mmil_cli.cli.app import app

    monkeypatch.setitem(sys.modules, "wandb", None)
    for sink, says in (("wandb", "wandb is not installed"), ("nowhere", "'tensorboard' or 'wandb'")):
        command = ["pretrain", str(tiny_dataset), "--out", str(tmp_path / "run"), "--log-to", sink]
        assert says in str(CliRunner().invoke(app, command).exception)
    assert not (tmp_path / "run").exists()


def test_the_best_is_the_last_while_none_is_defined(tiny_dataset, tmp_path, monkeypatch):
    from mmil_cli.stages import pretrain_run

    monkeypatch.setattr(pretrain_run, "validate", lambda *_, **__: {"loss": float("nan")})
    assert pretrain(tiny_dataset, tmp_path / "run", "run.keep=best").checkpoint.is_dir()


def test_a_run_that_learns_nothing_warns_once(tiny_dataset, tmp_path):
    notes = []
    from mmil_cli.stages.pretrain import Watchers

    options = (
        "optim.lr=1e-9",
        "optim.weight_decay=0",
        "optim.epochs=3",
        "run.log_every=1",
        "run.validate_every=1",
    )
    pretrain(tiny_dataset, tmp_path / "run", *options, watchers=Watchers(on_note=notes.append))
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    told = [entry["text"] for entry in entries if entry["kind"] == "warning"]
    assert len([text for text in told if "what guessing costs" in text]) == 1
    assert len(told) == len(set(told)) == len(notes)
