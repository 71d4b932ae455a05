"""Every preset goes the whole way on generated patches: trained, retrieved and grounded by its own score."""

import math

import torch

SHORT = (
    "data.batch_size=12",
    "data.workers=0",
    "image.size=48",
    "image.widths=[8, 16]",
    "text.width=16",
    "text.heads=2",
    "text.layers=1",
    "optim.epochs=1",
    "optim.lr=0.003",
    "run.precision=fp32",
    "run.log_every=1",
)


def pytest_generate_tests(metafunc):
    """Every registered preset, just by being registered."""
    if "preset" in metafunc.fixturenames:
        from mmil_cli.config.presets import PRESETS

        metafunc.parametrize("preset", list(PRESETS))


def trained(data, folder, preset, *overrides):
    from mmil_cli.build import load_checkpoint
    from mmil_cli.config.load import load_recipe
    from mmil_cli.stages import pretrain

    recipe = load_recipe(None, score=preset, overrides=[*SHORT, *overrides])
    result = pretrain.run(data.dataset, folder, recipe=recipe, device="cpu")
    return result, load_checkpoint(folder)


def test_trains_and_is_evaluated_by_its_own_score(patch_data, tmp_path, preset):
    from mmil_cli.stages import ground_phrases, retrieve

    small = ("score.critic=mlp(hidden=32, second=16)",) if "mi" in preset.split("-") else ()
    result, loaded = trained(patch_data, tmp_path / "run", preset, *small)
    assert math.isfinite(result.metrics["loss"])
    check_scores(loaded.embedder, patch_data)

    found = retrieve.run(patch_data.dataset, checkpoint=tmp_path / "run", out=tmp_path / "retrieve", seed=0)
    assert found.image_to_text.num_queries == 40
    grounded = ground_phrases.run(
        patch_data.phrases, patch_data.dataset, checkpoint=tmp_path / "run", out=tmp_path / "ground", seed=0
    )
    assert grounded.num_phrases > 0


def check_scores(embedder, data):
    """Logits are the weighted terms of the score that was trained; zero-shot and maps are finite."""
    from mmil_cli.config.prompts import Prompts
    from mmil_cli.data.dataset import StudyDataset
    from mmil_cli.stages.zero_shot import ZeroShot

    reports = embedder.reports([["There is a bright patch.", "Dark lucency."], ["Striped area."]])
    images = embedder.dataset(StudyDataset.open(data.dataset), [0, 1, 2])
    score = embedder.model.score.eval()
    with torch.inference_mode():
        terms = score(images.regions, reports)
    expected = sum(score.terms[name].weight * term.logits for name, term in terms.items())
    torch.testing.assert_close(embedder.logits(images.regions, reports), expected)

    prompts = {"Bright": Prompts(positive=("bright patch", "bright spot"), negative=("dark patch",))}
    assert ZeroShot(embedder, prompts).scores(images.regions).shape == (3, 1)
    maps = embedder.maps(images.regions, embedder.sentences(["bright patch"]))
    assert maps[~maps.isnan()].std() > 0
