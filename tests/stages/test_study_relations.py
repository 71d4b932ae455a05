"""Relations over the arms of a study, and what they are told as."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr


def relate(first, second, **options):
    from mmil_cli.stages.study.relations import relate as found

    return found(np.asarray(first, float), np.asarray(second, float), **options)


def test_it_is_the_rank_correlation_of_means_over_seeds():
    generator = np.random.default_rng(0)
    properties = generator.normal(size=(12, 3))
    performance = properties + generator.normal(size=(12, 3))
    found = relate(properties, performance)
    expected = spearmanr(properties.mean(axis=1), performance.mean(axis=1))
    assert found.value == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.low < found.value < found.high
    assert found.num_arms == 12
    wider = relate(properties, performance, level=0.99)
    assert wider.low < found.low < found.high < wider.high


def test_its_interval_holds_the_truth_as_often_as_it_says():
    """For normal arms Spearman's correlation is (6 / pi) asin(r / 2)."""
    generator = np.random.default_rng(1)
    correlation, held = 0.6, 0
    truth = 6 / math.pi * math.asin(correlation / 2)
    for _ in range(600):
        first = generator.normal(size=(19, 1))
        second = correlation * first + math.sqrt(1 - correlation**2) * generator.normal(size=(19, 1))
        found = relate(first, second)
        held += found.low <= truth <= found.high
    assert 0.92 < held / 600 < 0.98


def test_arms_and_seeds_without_a_figure_do_not_count():
    first = [[1, math.nan], [2, 2], [3, 3], [4, 4], [5, 5], [math.nan] * 2, [7, 7]]
    second = [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5], [6, 6], [math.nan] * 2]
    found = relate(first, second)
    assert found.num_arms == 5
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([[1], [2], [3], [4]], [[1], [2], [3], [4]]),
        ([[1]] * 6, [[1], [2], [3], [4], [5], [6]]),
        (np.empty((0, 2)), np.empty((0, 2))),
        ([[math.nan]] * 6, [[1], [2], [3], [4], [5], [6]]),
    ],
)
def test_it_is_undefined_for_few_arms_or_a_constant(first, second):
    assert math.isnan(relate(first, second).value)


STUDY = {
    "name": "little", "title": "A little study", "purpose": "Relations.", "kind": "bags",
    "base": {"grid": 4, "dim": 5, "bags": 20, "steps": 2, "test_bags": 20},
    "arms": [
        *({"name": name, "set": {"score": name}} for name in ("max", "mean", "lse", "noisy-or", "top-k")),
        {"name": "best", "floor": True, "set": {"score": "bayes"}},
    ],
    "conditions": [{"name": "plain", "set": {}}, {"name": "small", "set": {"side": 1}}],
    "seeds": 2, "metrics": ["bags/auroc"], "baseline": "max",
    "relations": {"properties": "property/effective_regions", "performance": ["bags/auroc", "regions/mass"]},
    "forms": {"short": {"minutes": 1}},
}  # fmt: skip


def plan_of(**changes):
    from mmil_cli.config.study import check_study
    from mmil_cli.stages.study.cells import plan_study

    return plan_study(check_study({**STUDY, **changes}, where="here"), form="short")


def test_a_study_tells_its_relations_in_a_table_and_on_its_page(tmp_path):
    import csv

    from mmil_cli.stages.study.run import run

    run(plan_of(), tmp_path / "out", workers=1, device="cpu")
    with (tmp_path / "out" / "relations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["condition"], row["performance"]) for row in rows] == [
        (condition, metric) for condition in ("plain", "small") for metric in ("bags/auroc", "regions/mass")
    ]
    with (tmp_path / "out" / "results.csv").open() as file:
        means = {
            (row["condition"], row["arm"], row["metric"]): float(row["value"])
            for row in csv.DictReader(file)
            if row["seed"] == "all" and row["finding"] == "" and row["value"]
        }
    arms = ["max", "mean", "lse", "noisy-or", "top-k"]
    for row in rows:
        first, second = (
            [means[row["condition"], arm, metric] for arm in arms]
            for metric in ("property/effective_regions", row["performance"])
        )
        assert float(row["value"]) == pytest.approx(spearmanr(first, second).statistic, abs=1e-6)
        assert float(row["p_holm"]) >= float(row["p"])
        assert row["num_arms"] == "5"
    page = (tmp_path / "out" / "page.html").read_text()
    assert "Which property goes with which performance" in page
    assert "regions listened to" in page


def test_a_relation_of_what_no_cell_comes_to_is_refused():
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match="no cell of this study comes to 'property/effective'"):
        plan_of(relations={"properties": "property/effective", "performance": "bags/auroc"})


@pytest.mark.parametrize("form", ["short", "full"])
@pytest.mark.parametrize("name", ["aggregators", "mi-cost", "other-domain"])
def test_shipped_studies_can_be_planned_and_all_claims_asked(name, form):
    from mmil_cli.config.study import load_study
    from mmil_cli.stages.study.cells import plan_study

    plan = plan_study(load_study(name), form=form)
    assert plan.cells
    assert len({cell.folder for cell in plan.cells}) == len(plan.cells)
    if form == "full":
        assert not plan.untested
        assert {row.arm for row in plan.rows} == {arm.name for arm in plan.study.arms}


def test_the_aggregators_study_tries_every_aggregator():
    import re

    from mmil_cli.config.study import load_study
    from mmil_cli.core.aggregators import AGGREGATORS

    scores = {str(arm.set["score"]) for arm in load_study("aggregators").arms}
    assert set(AGGREGATORS) <= {re.sub(r"\(.*?\)", "", score) for score in scores}
