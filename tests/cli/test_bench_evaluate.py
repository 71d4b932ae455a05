"""`mmil bench evaluate`: it runs, and times what it says."""

import json

from typer.testing import CliRunner


def test_a_quick_run_measures_every_evaluation(tmp_path):
    from mmil_cli.cli.app import app
    from mmil_cli.stages.bench_evaluate import MEASUREMENTS

    outcome = CliRunner().invoke(app, ["bench", "evaluate", "--quick", "--out", str(tmp_path)])
    assert outcome.exit_code == 0, f"{outcome.output}\n{outcome.exception!r}"
    rows = json.loads((tmp_path / "bench_evaluate.json").read_text())["rows"]
    assert len(rows) == len(MEASUREMENTS)
    for row in rows:
        assert row["name"] in outcome.stdout
        assert row["seconds"] > 0
        assert row["most_seconds"] is None  # small inputs say nothing
        assert row["holds"]


def test_the_planted_findings_can_be_told_and_more_labels_tell_them_better():
    from mmil_cli.stages.bench_evaluate import planted_findings
    from mmil_cli.stages.label_curve import Draws, label_points
    from mmil_cli.stages.label_sets import Budget
    from mmil_cli.stages.policies import Method
    from mmil_cli.stages.probe_readers import LinearReader

    features, task = planted_findings(600, 12, 3, seed=0)
    draws = Draws(budgets=(Budget(share=0.05), Budget(share=1.0)), num_seeds=2, seed=0)
    few, full = label_points(
        Method.LINEAR, LinearReader(features), task.label_set(), task.labels[task.scored], draws=draws
    )
    assert 0.5 < max(few.mean_auroc) < full.mean_auroc[0] < 1
    assert len(few.mean_auroc) == 2
