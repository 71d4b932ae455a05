"""Studies: the shipped ones, and what is refused in a recipe and in what is asked of it."""

import copy

import pytest
import yaml

TREE = yaml.safe_load("""
name: tiny
title: A study
purpose: To try.
data:
  generated: {kind: generated, title: generated studies, set: {studies: 60}}
base: {recipe: demo, optim.epochs: 4}
arms:
  - {name: first, set: {score: lse+nl}}
  - {name: second, grid: {score: [mean, max], optim.lr: [0.001]}}
  - {name: few, kind: labels, set: {of: first}}
  - {name: nothing, set: {untrained: true}, floor: true}
seeds: 3
metrics: [probe/linear/auroc]
baseline: first
claims:
  - {text: it is better, source: ours, metric: probe/linear/auroc, better: first, than: second}
forms:
  short: {minutes: 1, seeds: 2, base: {optim.epochs: 2}}
  full: {minutes: 2}
scaled: {data: [studies], cells: [optim.epochs]}
""")


def planned(tree=TREE, **options):
    from mmil_cli.config.study import check_study
    from mmil_cli.stages.study.cells import plan_study

    return plan_study(check_study(tree, where="the study"), **{"form": "short", **options})


def changed(**sections):
    return {**copy.deepcopy(TREE), **sections}


@pytest.mark.parametrize("form", ["short", "full"])
@pytest.mark.parametrize("name", ["lse-nl", "local-mi", "scales"])
def test_every_form_of_the_shipped_studies_can_be_planned_and_tests_its_claims(name, form):
    from mmil_cli.config.study import load_study
    from mmil_cli.stages.study.cells import plan_study

    plan = plan_study(load_study(name), form=form)
    assert not plan.untested
    assert len(plan.seeds) >= 3
    assert any(row.floor for row in plan.rows)
    assert plan.study.forms[form].minutes <= {"short": 10, "full": 100}[form]


def test_cells_are_arms_times_grids_times_seeds_with_settings_laid_over_each_other():
    plan = planned()
    rows = [row.name for row in plan.rows]
    assert rows == ["first", "second score=mean lr=0.001", "second score=max lr=0.001", "few", "nothing"]
    assert len(plan.cells) == 5 * 2
    assert len({cell.folder for cell in plan.cells}) == len(plan.cells)
    mean = next(cell for cell in plan.cells if cell.row.name == rows[1])
    assert mean.settings == {"recipe": "demo", "optim.epochs": 2, "score": "mean", "optim.lr": 0.001}
    assert plan.row_names("second") == tuple(rows[1:3])
    few = [cell for cell in plan.cells if cell.row.name == "few"]
    assert few == list(plan.cells[-2:])  # after what they need
    assert few[0].settings == {"of": "first"}
    first = next(cell for cell in plan.cells if cell.row.name == "first" and cell.seed == few[0].seed)
    assert few[0].needs == {"first": first.folder}


def test_scale_multiplies_what_the_study_says_and_nothing_else():
    plan = planned(form="full", scale=2.5)
    assert plan.data[0].settings == {"studies": 150}
    assert plan.cells[0].settings["optim.epochs"] == 10
    assert plan.seeds == (0, 1, 2)


def test_conditions_and_data_of_their_own_arms():
    tree = changed(
        conditions=[{"name": "slow", "set": {"optim.lr": 0.1}}, {"name": "fast"}],
        data={
            **TREE["data"],
            "numbers": {"kind": "none", "title": "numbers", "arms": ["apart"]},
        },
        arms=[*TREE["arms"], {"name": "apart", "kind": "sums", "set": {"studies": "findings apart"}}],
    )
    plan = planned(tree)
    assert {cell.data for cell in plan.cells if cell.row.name == "apart"} == {"numbers"}
    assert {cell.data for cell in plan.cells if cell.row.name != "apart"} == {"generated"}
    slow = [cell for cell in plan.cells if cell.condition == "slow"]
    assert {cell.settings.get("optim.lr") for cell in slow if cell.row.name == "first"} == {0.1}
    assert plan.claims  # asked of the generated studies alone


WRONG = {
    "unknown key optim.epoch; did you mean 'epochs'": {"base": {"optim.epoch": 3}},
    "unknown key 'recipes'; did you mean 'recipe'": {"base": {"recipes": "demo"}},
    "run.seed is set by the study": {"base": {"run.seed": 3}},
    "its grid has no value for score, which leaves no cell": {
        "arms": [{"name": "first", "grid": {"score": []}}]
    },
    "no kind of cell 'checkpoints'; did you mean 'checkpoint'": {"kind": "checkpoints"},
    "no cell of this study comes to 'probe/knn/auroc'": {"metrics": ["probe/knn/auroc"]},
    "baseline: this form has no arm 'third'": {"baseline": "third"},
    "baseline: 'second' has a grid; name one of its rows": {"baseline": "second"},
    "arm 'first' stands there 2 times": {"arms": [{"name": "first"}, {"name": "first"}]},
    "unknown key arm": {"arm": []},
    "seeds": {"seeds": []},
    "generated studies have no setting 'study'; did you mean 'studies'": {
        "data": {"generated": {"kind": "generated", "title": "x", "set": {"study": 60}}}
    },
    "studies is 3": {"data": {"generated": {"kind": "generated", "title": "x", "set": {"studies": 3}}}},
    "no arm 'firs'; did you mean 'first'": {
        "claims": [{"text": "t", "source": "s", "metric": "probe/linear/auroc", "better": "firs"}]
    },
    "no data 'real'; there are generated": {
        "claims": [
            {"text": "t", "source": "s", "metric": "probe/linear/auroc", "better": "first", "data": "real"}
        ]
    },
    "'second' has a grid": {
        "claims": [{"text": "t", "source": "s", "metric": "probe/linear/auroc", "better": "second"}]
    },
    "have no 'labels/linear/1%'": {
        "claims": [{"text": "t", "source": "s", "metric": "labels/linear/1%", "better": "first"}]
    },
    "needs the cells of arm 'frst'; did you mean 'first'": {
        "arms": [{"name": "first"}, {"name": "few", "kind": "labels", "set": {"of": "frst"}}]
    },
    "tasks: no 'grounds'; did you mean 'ground'": {"base": {"tasks": ["grounds"]}},
}


@pytest.mark.parametrize("told", WRONG)
def test_what_is_wrong_is_told_in_a_sentence(told):
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError) as error:
        planned(changed(**WRONG[told]))
    assert told in str(error.value)


def test_a_form_or_data_that_is_not_there_and_a_scale_of_nothing():
    from mmil_cli.errors import UsageError

    for options, told in (
        ({"form": "shrt"}, "did you mean 'short'"),
        ({"scale": 0.0}, "number above 0"),
        ({"given": {"real": "x"}}, "--data: study tiny has no data 'real'"),
        ({"phrases": {"generated": "x"}}, "goes with --data"),
    ):
        with pytest.raises(UsageError, match=told):
            planned(**options)
    with pytest.raises(UsageError, match="no sizes to multiply"):
        planned(changed(scaled={}), scale=2.0)


def test_grounding_without_boxes_is_refused(tiny_folder):
    from mmil_cli.errors import UsageError

    entry = {"kind": "dataset", "title": "mine"}
    tree = changed(data={"mine": entry}, metrics=["ground/pointing"], claims=[])
    with pytest.raises(UsageError, match=r"'ground/pointing' \(mine has no boxes\)"):
        planned(tree, given={"mine": tiny_folder})
    tree["metrics"] = ["probe/linear/auroc"]
    tree["base"] = {"tasks": ["probe", "ground"]}
    with pytest.raises(UsageError, match="tasks: ground needs boxes, and this data has none"):
        planned(tree, given={"mine": tiny_folder})
    with pytest.raises(UsageError, match="give it with --data"):
        planned(tree)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    """A dataset with labels and reports and no boxes."""
    from mmil_cli.stages import phantom, preprocess

    root = tmp_path_factory.mktemp("tiny")
    phantom.run(root / "studies", studies=8, side=64, workers=1)
    preprocess.run(root / "studies", root / "dataset", side=64)
    return root / "dataset"
