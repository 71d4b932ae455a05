"""Which recipes make the same run."""

import pytest


def text(*overrides):
    from mmil_cli.config.load import dump, load_recipe

    return dump(load_recipe(None, overrides=list(overrides)))


@pytest.mark.parametrize(
    "override",
    ["data.workers=7", "run.log_every=1", "run.log_to=[wandb]", "run.save_every=3", "run.save_minutes=0"],
)
def test_keys_that_change_no_outcome_do_not_part_runs(override):
    from mmil_cli.config.compare import deciding

    assert text(override) != text()
    assert deciding(text(override)) == deciding(text())


def test_what_differs_is_named():
    from mmil_cli.config.compare import deciding, differences

    here, there = deciding(text()), deciding(text("optim.lr=0.5", "data.views=[PA]"))
    assert (
        differences(there, here)
        == "data.views is ['PA'] there and [] here, optim.lr is 0.5 there and 0.001 here"
    )
    assert differences(here, here) == ""
    assert differences("a", here) == "no recipe is there"
