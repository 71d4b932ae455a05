"""Pretraining with other towers, towers that are frozen or start elsewhere, and bags of several films."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_pretrain import PlugPulled, pretrain, stop_after, weights_hash

SIX = {
    "resnet18": (),
    "resnet50": ("image.layer=layer3",),
    "densenet121": (),
    "vit_b_16": ("image.layer=1",),
    "convnext_tiny": ("image.layer=features.5",),
    "vit": (),
}


def weights_of(result):
    return load_file(result.checkpoint / "model.safetensors")


def tower(weights, name):
    return {key: value for key, value in weights.items() if key.startswith(f"{name}_encoder.")}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def few_films(tmp_path_factory):
    """Six films of six studies with a report each, all to train on, and the folder of the first."""
    from PIL import Image

    from mmil_cli.stages import preprocess

    folder = tmp_path_factory.mktemp("few")
    generator = np.random.default_rng(0)
    lines = ["image,report,patient_id,split"]
    for number, word in enumerate(("Effusion", "Edema", "Nodule", "Mass", "Fracture", "Pneumothorax")):
        Image.fromarray(generator.integers(0, 255, (64, 48), dtype=np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,FINDINGS: {word} is seen.,{number},train")
    (folder / "table.csv").write_text("\n".join(lines))
    preprocess.run(folder / "table.csv", folder / "data", side=64)
    return folder


@pytest.fixture(scope="module")
def vit_folder(tmp_path_factory):
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("hub") / "vit"
    options = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    ViTModel(ViTConfig(image_size=64, patch_size=8, **options)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.4], "image_std": [0.3]}))
    return folder


@pytest.mark.parametrize("name", SIX)
def test_each_of_the_usual_towers_trains_is_saved_loaded_and_grounds(few_films, vit_folder, tmp_path, name):
    from mmil_cli.stages import ground

    encoder = vit_folder if name == "vit" else name
    result = pretrain(
        few_films / "data",
        tmp_path / "run",
        f"image.encoder={encoder}",
        "data.batch_size=6",
        "run.log_every=1",
        *SIX[name],
    )
    (entry,) = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert entry["grad_norm"] > 0
    assert entry["loss"] > 0
    found = ground.run(
        few_films / "0.png", ["nodule"], checkpoint=result.checkpoint, out=tmp_path, device="cpu"
    )
    assert found.findings[0].phrase == "nodule"


def test_a_hugging_face_tower_is_loaded_without_its_source(few_films, vit_folder, tmp_path):
    import shutil

    from mmil_cli.build import load_checkpoint

    shutil.copytree(vit_folder, tmp_path / "vit")
    options = (f"image.encoder={tmp_path / 'vit'}", "image.layer=0", "data.batch_size=6")
    result = pretrain(few_films / "data", tmp_path / "run", *options)
    shutil.rmtree(tmp_path / "vit")
    embedder = load_checkpoint(result.checkpoint).embedder
    assert (embedder.contract.mean, embedder.contract.std) == pytest.approx((0.4, 0.3))
    assert embedder.model.image_encoder.body.config.num_hidden_layers == 1
    assert result.weights.num_loaded == len(tower(weights_of(result), "image"))


def test_own_and_no_weights_differ(few_films, vit_folder, tmp_path):
    options = (f"image.encoder={vit_folder}", "data.batch_size=6")
    own = pretrain(few_films / "data", tmp_path / "own", *options)
    none = pretrain(few_films / "data", tmp_path / "none", *options, "image.weights=none")
    assert none.weights is None
    assert weights_hash(own) != weights_hash(none)


@pytest.mark.parametrize("name", ["image", "text"])
def test_a_frozen_tower_keeps_every_byte_and_the_other_learns(tiny_dataset, tmp_path, name):
    short = pretrain(tiny_dataset, tmp_path / "one", f"{name}.freeze=all")
    long = pretrain(tiny_dataset, tmp_path / "two", f"{name}.freeze=all", "optim.epochs=2")
    other = {"image": "text", "text": "image"}[name]
    assert same(tower(weights_of(short), name), tower(weights_of(long), name))
    assert not same(tower(weights_of(short), other), tower(weights_of(long), other))


def test_blocks_below_the_named_one_keep_every_byte_and_those_above_learn(tiny_dataset, tmp_path):
    short = pretrain(tiny_dataset, tmp_path / "one", "image.freeze=stages.1")
    long = pretrain(tiny_dataset, tmp_path / "two", "image.freeze=stages.1", "optim.epochs=2")
    first, second = (tower(weights_of(result), "image") for result in (short, long))
    changed = {
        name.split(".")[1] + name.split(".")[2]
        for name in first
        if not torch.equal(first[name], second[name])
    }
    assert changed == {"stages1"}


THAW = ("image.freeze=all", "image.thaw=0.5", "text.freeze=blocks.layers.0", "text.thaw=0.4")


@pytest.mark.parametrize("step", [3, 11])
def test_a_run_is_resumed_across_the_thaw_to_the_same_bytes(tiny_dataset, tmp_path, step):
    undisturbed = pretrain(tiny_dataset, tmp_path / "whole", *THAW)
    assert undisturbed.num_steps == 14
    with pytest.raises(PlugPulled):
        pretrain(tiny_dataset, tmp_path / "broken", *THAW, watchers=stop_after(step))
    resumed = pretrain(tiny_dataset, tmp_path / "broken", *THAW)
    assert resumed.resumed_at == step - 1
    assert weights_hash(resumed) == weights_hash(undisturbed)


@pytest.mark.parametrize("name", ["image", "text"])
def test_a_thawed_tower_learns_from_that_step_on(tiny_dataset, tmp_path, name):
    frozen = pretrain(tiny_dataset, tmp_path / "frozen", f"{name}.freeze=all")
    late = pretrain(tiny_dataset, tmp_path / "late", f"{name}.freeze=all", f"{name}.thaw=0.9")
    early = pretrain(tiny_dataset, tmp_path / "early", f"{name}.freeze=all", f"{name}.thaw=0.1")
    weights = [tower(weights_of(result), name) for result in (frozen, late, early)]
    moved = [
        sum(float((other[key].float() - weights[0][key].float()).norm()) for key in other)
        for other in weights[1:]
    ]
    assert 0 < moved[0] < moved[1]


def test_a_run_may_start_from_a_checkpoint(tiny_dataset, tmp_path):
    from mmil_cli.checkpoint import open_checkpoint
    from mmil_cli.errors import UsageError

    first = pretrain(tiny_dataset, tmp_path / "first", "image.mean=0.4", "text.vocabulary_size=70")
    still = ("optim.lr=1e-12", "optim.weight_decay=0", "run.seed=3", "score.expression=max")
    second = pretrain(tiny_dataset, tmp_path / "second", f"run.start={tmp_path / 'first'}", *still)
    before, after = weights_of(first), weights_of(second)
    for name in before:
        if not name.startswith("score.") and "running" not in name and "tracked" not in name:
            torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    card = open_checkpoint(second.checkpoint).card
    assert card.image["mean"] == 0.4
    assert card.parent == f"{card.dataset_hash} at step {first.num_steps}"
    vocabularies = [
        (result.checkpoint / "tokenizer" / "tokenizer.json").read_text() for result in (first, second)
    ]
    assert vocabularies[0] == vocabularies[1]
    with pytest.raises(UsageError, match=r"run\.start: .* give the image, text and projection sections"):
        pretrain(tiny_dataset, tmp_path / "other", f"run.start={tmp_path / 'first'}", "image.widths=[4, 6]")


def test_the_image_tower_alone_may_start_from_a_run(tiny_dataset, tmp_path):
    first = pretrain(tiny_dataset, tmp_path / "first")
    second = pretrain(
        tiny_dataset,
        tmp_path / "second",
        f"image.weights={tmp_path / 'first'}",
        "image.freeze=all",
        "run.seed=3",
    )
    assert same(tower(weights_of(first), "image"), tower(weights_of(second), "image"))
    assert not same(tower(weights_of(first), "text"), tower(weights_of(second), "text"))


def test_norms_that_came_folded_are_measured_and_it_is_said(tiny_dataset, tmp_path):
    from safetensors.torch import save_file

    from mmil_cli.stages.pretrain import Watchers

    first = tower(weights_of(pretrain(tiny_dataset, tmp_path / "first")), "image")
    for name, tensor in first.items():
        if "running_mean" in name:
            tensor.zero_()
        elif "running_var" in name:
            tensor.fill_(1)
    save_file(first, tmp_path / "folded.safetensors")
    notes = []
    options = (f"image.weights={tmp_path / 'folded.safetensors'}", "image.freeze=all")
    result = pretrain(tiny_dataset, tmp_path / "second", *options, watchers=Watchers(on_note=notes.append))
    assert any("batch norms came without statistics" in note and "112 films" in note for note in notes)
    found = tower(weights_of(result), "image")
    assert found["image_encoder.stem.1.running_mean"].abs().min() > 0


def with_bags(data, out, *overrides):
    return pretrain(data, out, "data.films=bag", *overrides)


NO_CHANGES = tuple(f"augment.{name}=0" for name in ("rotate", "shift", "scale", "brightness", "contrast"))


def test_bags_of_one_film_are_pairs(few_films, tmp_path):
    pairs = pretrain(few_films / "data", tmp_path / "pairs", "data.batch_size=6")
    bags = with_bags(few_films / "data", tmp_path / "bags", "data.batch_size=6")
    assert weights_hash(pairs) == weights_hash(bags)


def test_a_step_has_the_films_of_its_studies_and_at_most_as_many_as_asked(tiny_dataset, tmp_path):
    from mmil_cli.data.dataset import StudyDataset
    from mmil_cli.stages.evaluation import open_evaluation

    dataset = StudyDataset.open(tiny_dataset)
    num_studies = len(set(dataset.column("study_id")[dataset.indices("train")]))
    results = {
        films: with_bags(tiny_dataset, tmp_path / str(films), f"data.max_films={films}") for films in (1, 2)
    }
    assert results[2].num_steps == num_studies // 8 < len(dataset.indices("train")) // 8
    assert weights_hash(results[1]) != weights_hash(results[2])
    (note,) = open_evaluation(tiny_dataset, checkpoint=results[2].checkpoint).notes("test")
    assert "here each film is its own" in note
    assert results[2].metrics["chance_loss"] == pytest.approx(results[1].metrics["chance_loss"])


def test_a_study_is_validated_as_a_bag(tiny_dataset, tiny_run):
    from mmil_cli.build import load_checkpoint
    from mmil_cli.data.dataset import StudyDataset
    from mmil_cli.data.studies import one_film_bags, study_bags
    from mmil_cli.stages.validation import validate

    dataset, embedder = StudyDataset.open(tiny_dataset), load_checkpoint(tiny_run).embedder
    rows = dataset.indices("validate")
    bags = study_bags(dataset, rows)
    assert bags.most == 2
    found = validate(embedder, dataset, bags, batch_size=4)
    pairs = validate(embedder, dataset, one_film_bags(rows), batch_size=4)
    assert found["loss"] != pairs["loss"]
    assert found["image_to_text_r@1"] >= 0.5


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("image.thaw=0.5",), "image.thaw is set, but image.freeze is none"),
        (("text.freeze=all", "optim.text_lr=0.1"), "the tower never learns"),
        (("image.freeze=all", "text.freeze=all", "optim.layer_decay=0.5"), "both towers are frozen"),
        (("run.shard=true", "text.freeze=all"), "run.shard shares out towers that learn whole"),
        (("data.max_films=2",), "data.max_films is set, but data.films is pairs"),
        (("run.start=runs/a", "image.weights=a.pth"), "give one of them"),
        (("run.start=runs/a", "text.vocabulary=a.txt"), "leave text.vocabulary empty"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(overrides, says):
    from mmil_cli.config.load import load_recipe
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=says):
        load_recipe(None, overrides=overrides)
