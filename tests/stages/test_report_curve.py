"""What a report says of fewer labels, and of comparisons: from the records that the commands write."""

import json

import pytest

FEW = ("10%", "100%")


@pytest.fixture(scope="module")
def results(tiny_run, tiny_dataset, tmp_path_factory):
    from mmil_cli.stages import probe, retrieve
    from mmil_cli.stages.label_sets import Budget
    from mmil_cli.stages.policies import Method

    folder = tmp_path_factory.mktemp("results")
    few = probe.FewLabels(budgets=tuple(Budget(share=share) for share in (0.1, 1.0)), num_seeds=2)
    for name, methods in {"one": ("linear", "knn"), "two": ("linear",)}.items():
        probe.run(tiny_dataset, checkpoint=tiny_run, out=folder / name, few=few, device="cpu",
                  methods=tuple(map(Method, methods)))  # fmt: skip
        retrieve.run(tiny_dataset, checkpoint=tiny_run, out=folder / name, device="cpu")
    return folder


def page(tiny_run, folder, out, **options):
    from mmil_cli.stages.report import run

    run([tiny_run], out, results=[folder], device="cpu", **options)
    return out.read_text()


def test_label_curves_stand_in_the_page(tiny_run, results, tmp_path):
    text = page(tiny_run, results / "one", tmp_path / "report.html")
    points = json.loads((results / "one" / "probe.json").read_text())["label_curve"]
    assert [(point["method"], point["labels"]) for point in points] == [
        (method, labels) for method in ("linear", "knn") for labels in FEW
    ]
    for point in points:
        assert f"<td>{point['method']}</td><td" in text
        assert f"{point['mean']['auroc']['mean']:.2f}" in text
    assert text.count(">mean AUROC<") >= 2  # of the panels' axes
    assert "Mean AUROC over the number of labels." in text


def test_a_method_without_fewer_labels_has_no_curve(tiny_run, results, tmp_path):
    from mmil_cli.stages.report_curve import label_curve_blocks
    from mmil_cli.stages.report_records import read_runs

    runs, _ = read_runs([tiny_run], [results / "one"])
    (record,) = runs[0].of("probe")
    assert list(label_curve_blocks({"a": record}))
    record.content["label_curve"].clear()
    assert not list(label_curve_blocks({"a": record}))


def test_comparisons_stand_in_the_page(tiny_run, results, tmp_path):
    from mmil_cli.stages.compare import run

    found = run([results / "one", results / "two"], tmp_path / "compared")
    text = page(tiny_run, tmp_path / "compared", tmp_path / "report.html")
    mean = next(row for row in found.rows if row.name.startswith("mean of") and row.metric == "AUROC")
    assert f">{mean.found.first:.2f}<" in text
    assert f"linear, {mean.name} AUROC" in text
    assert "image_to_text, R@5" in text
    assert "image_to_text/strict" not in text


@pytest.mark.parametrize("content", ["{}", "[]", '{"rows": [{}], "models": ["a"], "reference": "a"}', "{"])
def test_a_damaged_comparison_is_one_sentence(tiny_run, tmp_path, content):
    from mmil_cli.errors import DataError

    (tmp_path / "compare.json").write_text(content)
    with pytest.raises(DataError, match=r"compare\.json is"):
        page(tiny_run, tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_boxes_lie_over_the_films_of_phrases_not_called_unlikely(tiny_run, tiny_dataset, tmp_path):
    text = page(tiny_run, tmp_path, tmp_path / "report.html", data=tiny_dataset)
    assert text.count("<rect x=") > 0


def test_boxes_of_the_viewer_are_those_of_grounding(tiny_run, tiny_dataset):
    from mmil_cli.stages.evaluation import open_evaluation
    from mmil_cli.stages.viewer import Viewer

    viewer = Viewer(open_evaluation(tiny_dataset, checkpoint=tiny_run, device="cpu"))
    row = next(r for r in range(100) if any("left lower" in s for s in viewer.row(r).sentences))
    box = viewer.ask(row, "Bright left lower square.").boxes[0]
    about = viewer.row(row)
    assert 0 <= box[0] <= box[0] + box[2] <= about.width
    assert box[1] + box[3] / 2 > about.height / 2
    assert box[0] + box[2] / 2 < about.width / 2
