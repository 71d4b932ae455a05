"""The page on runs: what it holds, and what it says is not there."""

import json
import re
import shutil

import pytest

NASTY = "<script>alert('x')</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def results(tiny_run, tiny_dataset, tiny_prompts, tmp_path_factory):
    from mmil_cli.stages import probe, retrieve

    folder = tmp_path_factory.mktemp("results")
    probe.run(tiny_dataset, checkpoint=tiny_run, out=folder / "probe", prompts=tiny_prompts, device="cpu")
    retrieve.run(tiny_dataset, checkpoint=tiny_run, out=folder / "retrieve", device="cpu")
    return folder


@pytest.fixture
def other_run(tiny_run, tmp_path):
    """Another run: the same weights under another name."""
    return shutil.copytree(tiny_run, tmp_path / "other" / "second")


def write(runs, out, **options):
    from mmil_cli.stages.report import run

    result = run(runs, out, device="cpu", **options)
    return result, out.read_text()


def test_everything_measured_stands_in_the_page(tiny_run, tiny_dataset, results, tmp_path):
    result, text = write([tiny_run], tmp_path / "report.html", results=[results], data=tiny_dataset)
    record = json.loads((results / "probe" / "probe.json").read_text())
    linear = record["methods"]["linear"]
    for finding, row in linear["findings"].items():
        assert finding in text
        assert f"{row['auroc']['value']:.2f}" in text
    retrieval = json.loads((results / "retrieve" / "retrieve.json").read_text())
    assert f"{retrieval['image_to_text']['rows'][0]['measured']['value']:.2f}" in text
    assert result.num_records == 2
    assert record["provenance"]["checkpoint"]["dataset_hash"] in text
    assert text.count("<svg") == 1 + 2 * 3 + text.count('<figure class="grounded">')
    assert text.count('<figure class="grounded">') == 4
    assert "batch_size: 28" in text
    assert f"mmil probe tiny --checkpoint {tiny_run} --split test --method linear,zero-shot" in text


def test_what_is_missing_is_said_and_not_made_up(tiny_run, tmp_path):
    result, text = write([tiny_run], tmp_path / "report.html")
    for task in ("probe", "retrieve", "ground"):
        assert f"has no {task}.json among the folders searched" in text
    assert text.count("Not measured.") == 3
    assert "Not shown: films are shown of the dataset that --data names" in text
    assert len(result.notes) == 3


def test_runs_stand_side_by_side_and_a_result_only_with_its_own(tiny_run, other_run, results, tmp_path):
    _, text = write([tiny_run, other_run], tmp_path / "report.html", results=[results])
    assert '<th scope="col">second</th>' in re.sub(r' class="number"', "", text)
    assert "Not measured: second." in text
    assert "second has no probe.json" in text
    assert "The recipes are the same." in text


def test_a_result_of_another_checkpoint_is_left_out_and_named(other_run, results, tmp_path):
    result, text = write([other_run], tmp_path / "report.html", results=[results])
    assert result.num_records == 0
    assert any("is of tiny/checkpoint at step" in note for note in result.notes)
    assert text.count("Not measured.") == 3


def test_recipes_that_differ_are_told_by_key(tiny_run, other_run, tmp_path):
    path = other_run / "checkpoint" / "recipe.yaml"
    path.write_text(path.read_text().replace("batch_size: 28", "batch_size: 14"))
    _, text = write([tiny_run, other_run], tmp_path / "report.html")
    assert "data.batch_size" in text
    assert "data.workers" not in text


def test_hostile_words_of_a_record_stay_words(tiny_run, results, tmp_path):
    folder = shutil.copytree(results, tmp_path / "results")
    for name in ("probe/probe.json", "probe/probe_curves.json", "retrieve/retrieve.json"):
        path = folder / name
        path.write_text(path.read_text().replace("Left Upper Square", NASTY).replace("R@1", f"R@1{NASTY}"))
    _, text = write([tiny_run], tmp_path / "report.html", results=[folder])
    assert "&lt;script&gt;alert(" in text
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "script-src" not in text


def test_a_figure_without_a_value_is_a_dash(tiny_run, results, tmp_path):
    folder = shutil.copytree(results, tmp_path / "results")
    path = folder / "retrieve" / "retrieve.json"
    content = json.loads(path.read_text())
    content["image_to_text"]["rows"][0]["measured"] = {"value": None, "low": None, "high": None}
    path.write_text(json.dumps(content))
    _, text = write([tiny_run], tmp_path / "report.html", results=[folder])
    assert '<td>R@1</td><td class="number">–</td>' in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("probe/probe.json", "{"),
        ("probe/probe.json", "[]"),
        ("probe/probe.json", '{"provenance": {}}'),
        ("retrieve/retrieve.json", '{"provenance": {"checkpoint": 3}}'),
        ("probe/probe_curves.json", "no json"),
    ],
)
def test_a_damaged_record_is_one_error_and_leaves_no_page(tiny_run, results, tmp_path, name, content):
    from mmil_cli.errors import DataError

    folder = shutil.copytree(results, tmp_path / "results")
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=name.split("/")[1]):
        write([tiny_run], tmp_path / "report.html", results=[folder])
    assert not (tmp_path / "report.html").exists()


def test_a_record_that_lacks_a_part_is_one_error(tiny_run, results, tmp_path):
    from mmil_cli.errors import DataError

    folder = shutil.copytree(results, tmp_path / "results")
    path = folder / "probe" / "probe.json"
    content = json.loads(path.read_text())
    del content["methods"]["linear"]["mean"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="run mmil probe again"):
        write([tiny_run], tmp_path / "report.html", results=[folder])


def test_a_folder_that_is_no_run_is_one_error(tiny_run, tiny_dataset, tmp_path):
    from mmil_cli.errors import UsageError

    for folder in (tiny_dataset, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=r"is no run: .* mmil pretrain wrote"):
            write([tiny_run, folder], tmp_path / "report.html")
    with pytest.raises(UsageError, match="same folder is given twice"):
        write([tiny_run, tiny_run], tmp_path / "report.html")
    with pytest.raises(UsageError, match=r"--results .* is no folder"):
        write([tiny_run], tmp_path / "report.html", results=[tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="give the name of the page"):
        write([tiny_run], tmp_path)


def test_a_checkpoint_alone_has_no_log_and_that_is_said(tiny_run, tmp_path):
    result, text = write([tiny_run / "checkpoint"], tmp_path / "report.html")
    assert any("no log.jsonl" in note for note in result.notes)
    assert "None of the runs has a log." in text
