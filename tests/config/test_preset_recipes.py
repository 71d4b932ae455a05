"""Presets: pieces of a recipe that --score puts over the file and under --set."""

import pytest


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        from mmil_cli.config.presets import PRESETS

        metafunc.parametrize("name", list(PRESETS))


def test_every_preset_is_a_recipe_whose_score_can_be_built(name):
    from mmil_cli.config.load import load_recipe
    from mmil_cli.config.presets import PRESETS
    from mmil_cli.core.build_score import build_score

    recipe = load_recipe("laptop", score=name)
    for section, keys in PRESETS[name].tree.items():
        for key, value in keys.items():
            assert getattr(getattr(recipe, section), key) == value
    score = build_score(dim=8, **recipe.score.model_dump(exclude={"same_group"}))
    assert score.terms


def test_a_preset_wins_over_the_file_and_set_wins_over_the_preset(tmp_path):
    from mmil_cli.config.load import load_recipe

    path = tmp_path / "mine.yaml"
    path.write_text("score: {temperature: 0.5, expression: max}\ntext: {width: 64}\n")
    recipe = load_recipe(path, score="convirt", overrides=["score.objective=nwj"])
    assert recipe.score.temperature == 0.1
    assert recipe.score.expression == "pooled"
    assert recipe.score.objective == "nwj"
    assert recipe.text.width == 64


def test_a_preset_named_in_a_file_is_under_the_files_own_keys(tmp_path):
    from mmil_cli.config.load import load_recipe

    path = tmp_path / "mine.yaml"
    path.write_text("score: {expression: siglip, temperature: 0.5}\n")
    recipe = load_recipe(path)
    assert recipe.score.expression == "pooled"
    assert recipe.score.objective == "sigmoid(bias=-10)"
    assert recipe.score.temperature == 0.5
    assert recipe.text.unit == "report"


def test_an_expression_replaces_that_of_the_file_and_nothing_else(tmp_path):
    from mmil_cli.config.load import load_recipe

    path = tmp_path / "mine.yaml"
    path.write_text("score: {temperature: 0.5, expression: max}\n")
    recipe = load_recipe(path, score="lse(gamma=auto)+nl")
    assert (recipe.score.expression, recipe.score.temperature) == ("lse(gamma=auto)+nl", 0.5)


def test_a_preset_of_several_keys_cannot_come_by_set():
    from mmil_cli.config.load import load_recipe
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match="give it as --score gloria"):
        load_recipe(None, overrides=["score.expression=gloria"])
    assert load_recipe(None, overrides=["score.expression=lse+nl"]).score.expression == "lse+nl"
