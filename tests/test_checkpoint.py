"""The checkpoint folder: strict, atomic, and found without being told where."""

import os

import pytest
import torch


def make_card(**changes):
    from mmil_cli.checkpoint import Card

    fields = {
        "stage": "pretrain",
        "step": 3,
        "seed": 0,
        "metrics": {"loss": 1.5},
        "dataset_hash": "abc",
        "dataset_options": {"side": 64},
        "label_names": ("Edema",),
        "image": {"stored_side": 64},
        "versions": {},
    }
    return Card(**{**fields, **changes})


def save(folder, tmp_path, model=None, **changes):
    from mmil_cli.checkpoint import save_checkpoint

    tokenizer = tmp_path / "tokenizer-source"
    tokenizer.mkdir(exist_ok=True)
    (tokenizer / "tokenizer.json").write_text("{}")
    model = model or torch.nn.Linear(2, 3)
    save_checkpoint(
        folder, weights=model.state_dict(), recipe="a: 1\n", card=make_card(**changes), tokenizer=tokenizer
    )


def test_what_was_saved_is_what_is_loaded(tmp_path):
    from mmil_cli.checkpoint import load_weights, open_checkpoint

    model, other = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    save(tmp_path / "run" / "checkpoint", tmp_path, model)
    found = open_checkpoint(tmp_path / "run")
    load_weights(other, found)
    assert torch.equal(model.weight, other.weight)
    assert found.card == make_card()
    assert found.recipe == "a: 1\n"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (torch.nn.Sequential(torch.nn.Linear(2, 3)), "missing: 0.bias, 0.weight; unexpected: bias, weight"),
        (torch.nn.Linear(5, 3), r"mis-shaped: weight \(3, 2\) for \(3, 5\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_loaded(tmp_path, model, says):
    from mmil_cli.checkpoint import load_weights, open_checkpoint
    from mmil_cli.errors import CheckpointError

    save(tmp_path / "checkpoint", tmp_path)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=says):
        load_weights(model, open_checkpoint(tmp_path))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["model.safetensors", "recipe.yaml", "card.json", "tokenizer"])
def test_a_missing_file_is_named(tmp_path, name):
    from mmil_cli.checkpoint import open_checkpoint
    from mmil_cli.errors import CheckpointError

    save(tmp_path / "checkpoint", tmp_path)
    (tmp_path / "checkpoint" / name).rename(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=name):
        open_checkpoint(tmp_path)


def test_a_damaged_weight_file_is_told(tmp_path):
    from mmil_cli.checkpoint import load_weights, open_checkpoint
    from mmil_cli.errors import CheckpointError

    save(tmp_path / "checkpoint", tmp_path)
    path = tmp_path / "checkpoint" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="damaged"):
        load_weights(torch.nn.Linear(2, 3), open_checkpoint(tmp_path))


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path):
    from mmil_cli.checkpoint import open_checkpoint, save_checkpoint

    save(tmp_path / "checkpoint", tmp_path)
    with pytest.raises(FileNotFoundError):
        save_checkpoint(
            tmp_path / "checkpoint",
            weights={},
            recipe="",
            card=make_card(step=9),
            tokenizer=tmp_path / "nowhere",
        )
    assert open_checkpoint(tmp_path).card.step == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "tokenizer-source"]


def test_a_plug_pulled_between_the_renames_is_mended(tmp_path):
    from mmil_cli.checkpoint import open_checkpoint

    save(tmp_path / "checkpoint", tmp_path)
    (tmp_path / "checkpoint").rename(tmp_path / ".checkpoint.old")
    assert open_checkpoint(tmp_path).card.step == 3


def test_option_then_variable_then_newest_run(tmp_path, monkeypatch):
    from mmil_cli.checkpoint import find_checkpoint
    from mmil_cli.errors import UsageError

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MMIL_CHECKPOINT", raising=False)
    with pytest.raises(UsageError, match="mmil pretrain"):
        find_checkpoint(None)
    for age, name in ((200, "old"), (100, "new")):
        save(tmp_path / "runs" / name / "checkpoint", tmp_path)
        os.utime(tmp_path / "runs" / name / "checkpoint" / "card.json", (1e9 - age, 1e9 - age))
    path, how = find_checkpoint(None)
    assert path.parent.name == "new"
    assert "newest" in how
    monkeypatch.setenv("MMIL_CHECKPOINT", "elsewhere")
    assert find_checkpoint(None) == (type(tmp_path)("elsewhere"), "from MMIL_CHECKPOINT")
    assert find_checkpoint(tmp_path)[0] == tmp_path
