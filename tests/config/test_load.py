"""Recipes: shipped ones, overrides, and every problem told at once."""

import pytest


def test_every_shipped_recipe_loads_and_says_what_it_is_for():
    from mmil_cli.config.load import load_recipe, shipped_recipes

    shipped = shipped_recipes()
    assert shipped
    for name, path in shipped.items():
        load_recipe(name)
        header = path.read_text().split("\n\n")[0].splitlines()
        assert all(line.startswith("#") for line in header), name
        text = " ".join(header)
        assert "Purpose:" in text, name
        assert "Before:" in text, name
        assert "mmil pretrain" in text, name


def test_a_dumped_recipe_is_the_same_recipe(tmp_path):
    from mmil_cli.config.load import dump, load_recipe

    recipe = load_recipe(None, overrides=["optim.lr=3e-4", "image.widths=[8, 16]"])
    (tmp_path / "recipe.yaml").write_text(dump(recipe))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_overrides_are_typed_and_win_over_the_file(tmp_path):
    from mmil_cli.config.load import load_recipe

    path = tmp_path / "mine.yaml"
    path.write_text("optim: {epochs: 3, lr: 0.5}\n")
    recipe = load_recipe(
        path, overrides=["optim.lr=3e-4", "data.views=[PA, AP]", "score.learn_temperature=false"]
    )
    assert (recipe.optim.epochs, recipe.optim.lr) == (3, 3e-4)
    assert recipe.data.views == ("PA", "AP")
    assert recipe.score.learn_temperature is False


def test_an_override_of_nothing_is_an_empty_string_and_null_is_written_out():
    from mmil_cli.config.load import load_recipe

    recipe = load_recipe("pretrained", overrides=["image.layer=", "optim.text_lr=null"])
    assert recipe.image.layer == ""
    assert recipe.optim.text_lr is None


def test_every_problem_is_told_at_once_with_the_nearest_name(tmp_path):
    from mmil_cli.config.load import load_recipe
    from mmil_cli.errors import UsageError

    path = tmp_path / "bad.yaml"
    path.write_text("optim: {epoch: 3, lr: -1}\nscor: {}\nimage: {fit: stretch}\n")
    with pytest.raises(UsageError) as caught:
        load_recipe(path)
    message = str(caught.value)
    for part in (
        "optim.epoch; did you mean 'epochs'",
        "optim.lr",
        "scor; did you mean 'score'",
        "image.fit",
        "pad",
    ):
        assert part in message


@pytest.mark.parametrize("override", ["lr=1", "optim.lr", "optim.=3", "a.b.c=1", "optim.lr=[1"])
def test_an_override_of_the_wrong_form_is_refused(override):
    from mmil_cli.config.load import load_recipe
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match="--set"):
        load_recipe(None, overrides=[override])


@pytest.mark.parametrize("content", ["- a\n", "a: [", "just words"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content):
    from mmil_cli.config.load import load_recipe
    from mmil_cli.errors import UsageError

    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"bad\.yaml"):
        load_recipe(path)


def test_an_unknown_recipe_name_lists_the_shipped_ones():
    from mmil_cli.config.load import load_recipe, shipped_recipes
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=next(iter(shipped_recipes()))):
        load_recipe("nonesuch")
