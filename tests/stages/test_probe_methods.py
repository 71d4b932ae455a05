"""Every method of the probe on the tiny model: frozen, tuned, supervised, few labels, grades, calibration."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import UsageError
from mmil_cli.stages.cases import read_cases
from mmil_cli.stages.label_sets import parse_budget
from mmil_cli.stages.policies import Method
from mmil_cli.stages.probe import FewLabels, ProbeResult, Training, run

SQUARES = ("Left Upper Square", "Right Upper Square")
FROZEN = (Method.LINEAR, Method.KNN, Method.ATTENTION, Method.INITIAL)
TUNED = (Method.FINETUNE, Method.SUPERVISED)


@pytest.fixture(scope="module", autouse=True)
def short_training() -> Iterator[None]:
    """Twenty steps of one learning rate, and one thread, so that a seed gives the same bytes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmil_cli.stages.label_training.LEAST_STEPS", 20)
        patch.setattr("mmil_cli.stages.probe_networks.FILM_RATES", (1e-3,))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def everything(
    tiny_dataset: Path, tiny_run: Path, tiny_prompts: Path, tmp_path_factory: pytest.TempPathFactory
) -> ProbeResult:
    return run(
        tiny_dataset,
        checkpoint=tiny_run,
        out=tmp_path_factory.mktemp("everything"),
        methods=[*FROZEN, Method.ZERO_SHOT],
        findings=[*SQUARES, "Never"],
        classes=SQUARES,
        prompts=tiny_prompts,
        calibrate=8,
        few=FewLabels(budgets=tuple(map(parse_budget, ("10%", "100%", "4"))), num_seeds=2),
        training=Training(epochs=6),
        device="cpu",
    )


def test_frozen_methods_tell_the_squares_and_the_control_does_so_least(everything: ProbeResult) -> None:
    means = {part.method: part.table.mean for part in everything.methods}
    assert set(means) == {*FROZEN, Method.ZERO_SHOT}
    for method in (Method.LINEAR, Method.KNN, Method.ATTENTION, Method.ZERO_SHOT):
        assert means[method].auroc.low > 0.6, method
    assert means[Method.INITIAL].auroc.value < means[Method.LINEAR].auroc.value
    for part in everything.methods:
        assert "Never" in part.skipped, part.method


def test_tuned_and_supervised_share_everything_but_the_start(
    tiny_dataset: Path, tiny_run: Path, tmp_path: Path
) -> None:
    tuned, supervised = _probe(tiny_dataset, tiny_run, tmp_path, methods=TUNED).methods
    assert tuned.table.mean.auroc.value > supervised.table.mean.auroc.value
    assert tuned.table.mean.auroc.low > 0.6
    assert tuned.details[SQUARES[0]]["chosen_on"] == "validate split"
    options = json.loads((tmp_path / "probe.json").read_text())["provenance"]["options"]
    assert options["epochs"] == Training().epochs


def test_the_record_has_every_figure_of_every_method(everything: ProbeResult) -> None:
    record = json.loads(everything.record.read_text())
    assert set(record["methods"]) == {str(method) for method in (*FROZEN, Method.ZERO_SHOT)}
    for method, part in record["methods"].items():
        for name in SQUARES:
            found = part["findings"][name]
            for metric in ("auroc", "auprc", "f1", "sensitivity", "specificity", "brier", "ece"):
                assert set(found[metric]) == {"value", "low", "high", "num_undefined"}, (method, metric)
                assert found[metric]["low"] <= found[metric]["value"] <= found[metric]["high"] + 1e-9
            assert found["thresholds"]["f1"] is not None
        assert part["mean"]["num_findings_of"]["f1"] == 2
        assert part["classes"]["classes"]["num_films"] > 0
        assert [row["name"] for row in part["classes"]["classes"]["rows"]] == list(SQUARES)
    drawn = json.loads((everything.record.parent / record["curves"]).read_text())
    assert drawn["linear"][SQUARES[0]]["roc"][-1] == [1.0, 1.0]


def test_the_cases_give_the_figures_back(everything: ProbeResult) -> None:
    from mmil_cli.metrics.classification import auroc

    cases = read_cases(everything.record.parent / "probe_cases.parquet")
    for part in everything.methods:
        for row in part.table.rows:
            found = cases[str(part.method), row.name]
            assert float(auroc(found.label, found.value)) == pytest.approx(row.auroc.value, abs=1e-12)
            assert len(found.label) == row.num_positive + row.num_negative


def test_the_label_curve_has_every_draw(everything: ProbeResult) -> None:
    points = {(point.method, point.budget): point for point in everything.points}
    assert set(points) == {(method, budget) for method in FROZEN for budget in ("10%", "100%", "4-shot")}
    for (method, budget), point in points.items():
        one_draw = budget == "100%" and method is not Method.ATTENTION
        assert len(point.mean_auroc) == len(point.seeds) == (1 if one_draw else 2)
        assert len(point.classes["classes"]) == len(point.seeds)
    full = next(part for part in everything.methods if part.method is Method.LINEAR)
    assert points[Method.LINEAR, "100%"].mean_auroc == (full.table.mean.auroc.value,)
    assert points[Method.LINEAR, "4-shot"].num_labels == (16, 16)
    assert points[Method.LINEAR, "10%"].num_patients[0] <= 7
    record = json.loads(everything.record.read_text())["label_curve"]
    values = points[Method.LINEAR, "10%"].mean_auroc
    shown = next(row for row in record if (row["method"], row["labels"]) == ("linear", "10%"))
    assert shown["mean"]["auroc"]["mean"] == pytest.approx(np.mean(values))
    assert shown["mean"]["auroc"]["deviation"] == pytest.approx(np.std(values, ddof=1))


def test_zero_shot_has_its_spread_over_prompts_and_its_calibration(
    everything: ProbeResult, tiny_run: Path, tiny_dataset: Path, tiny_prompts: Path, tmp_path: Path
) -> None:
    zero_shot = next(part for part in everything.methods if part.method is Method.ZERO_SHOT)
    detail = zero_shot.details[SQUARES[0]]
    spread = detail["single_prompts"]
    assert spread["num_pairs"] == 3 * 2
    assert spread["low"] <= spread["median"] <= spread["high"]
    assert spread["best"][0] in detail["positive"]
    assert spread["worst"][1] in detail["negative"]
    calibration = detail["calibration"]
    assert calibration["num_cases"] == 8
    shares = [at["value"] for at in calibration["probabilities"]]
    assert shares == sorted(shares)
    assert all(at["low"] <= at["value"] <= at["high"] for at in calibration["probabilities"])
    raw = run(tiny_dataset, checkpoint=tiny_run, out=tmp_path, methods=[Method.ZERO_SHOT], findings=SQUARES,
              prompts=tiny_prompts, device="cpu").methods[0]  # fmt: skip
    assert raw.table.rows == zero_shot.table.rows  # ranks are as they were
    assert raw.decisions.findings[SQUARES[0]]["brier"] != zero_shot.decisions.findings[SQUARES[0]]["brier"]


def test_supervised_starts_from_the_weights_that_pretraining_started_from(
    tiny_dataset: Path, tiny_run: Path
) -> None:
    from mmil_cli.build import build_model, load_checkpoint
    from mmil_cli.stages.probe_networks import initial_encoder

    loaded = load_checkpoint(tiny_run, device="cpu")
    torch.manual_seed(loaded.recipe.run.seed)
    start = build_model(loaded.recipe, vocabulary_size=loaded.embedder.tokenizer.vocabulary_size)
    found = initial_encoder(loaded.recipe).state_dict()
    for name, value in start.image_encoder.state_dict().items():
        assert torch.equal(value, found[name]), name
    trained = loaded.embedder.model.image_encoder.state_dict()
    assert not torch.equal(trained["stem.0.weight"], found["stem.0.weight"])


def _probe(data: Path, checkpoint: Path, out: Path, **options: object) -> ProbeResult:
    return run(data, checkpoint=checkpoint, out=out, device="cpu", **{"findings": SQUARES, **options})


def test_freezing_lower_layers_changes_what_is_learned(
    tiny_dataset: Path, tiny_run: Path, tmp_path: Path
) -> None:
    def scores(layer: str) -> np.ndarray:
        training = Training(epochs=1, from_layer=layer)
        result = _probe(tiny_dataset, tiny_run, tmp_path, methods=[Method.FINETUNE], training=training)
        return result.methods[0].cases[0].value

    found = [scores(layer) for layer in ("", "stages.1", "stages.1")]
    assert not np.array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[1], found[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training": Training(from_layer="stages.7")}, "no layer 'stages.7'; did you mean 'stages"),
        ({"few": FewLabels(budgets=(parse_budget("64"),))}, "--labels 64 asks for 64 .* has .*ask for fewer"),
        ({"classes": ["left upper square"]}, "told apart by two or more"),
        ({"methods": [Method.ZERO_SHOT], "calibrate": 500}, "--calibrate 500: the validate split has fewer"),
        ({"methods": [Method.ZERO_SHOT], "calibrate": 5, "split": "validate"}, "--calibrate draws labelled"),
        ({"methods": [Method.KNN], "split": "train"}, "cannot be scored there"),
    ],
)
def test_refuses_before_any_work(
    options: dict[str, object], message: str, tiny_dataset: Path, tiny_run: Path, tiny_prompts: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    told = []
    with pytest.raises(UsageError, match=message):
        _probe(
            tiny_dataset, tiny_run, tmp_path / "out", prompts=tiny_prompts,
            on_progress=lambda *numbers: told.append(numbers), **options,
        )  # fmt: skip
    assert not told
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def graded(tiny_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same films with the number of upper squares as a grade."""
    import csv

    from mmil_cli.data.sources.options import SourceOptions
    from mmil_cli.stages.preprocess import run as preprocess

    folder = tmp_path_factory.mktemp("graded")
    with tiny_table.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        names = ("Left Upper Square", "Right Upper Square")
        values = [row.pop(name) for name in names]
        row["severity"] = "" if set(values) - {"0", "1"} else str(sum(map(int, values)))
    with (folder / "table.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    options = SourceOptions(root=tiny_table.parent, labels=("severity",))
    preprocess(folder / "table.csv", folder / "data", side=64, source_options=options)
    return folder / "data"


def test_grades_are_told_apart_as_edema_severity_is(graded: Path, tiny_run: Path, tmp_path: Path) -> None:
    assert StudyDataset.open(graded).label_names == ("severity >= 1", "severity >= 2")
    result = run(graded, checkpoint=tiny_run, out=tmp_path, methods=[Method.LINEAR, Method.KNN], device="cpu")
    for part in result.methods:
        table = part.classes["severity"]
        assert [row.name for row in table.rows] == ["0 v 12", "01 v 2", "0 v 1", "0 v 2", "1 v 2"]
        assert table.mean.value > 0.7
        assert len(part.table.rows) == 2
    assert result.methods[0].details["severity"]["penalty"] > 0


def test_the_command_shows_the_curve_and_compares(tiny_dataset: Path, tiny_run: Path, tmp_path: Path) -> None:
    from mmil_cli.cli.app import app

    def invoke(*arguments: object) -> str:
        found = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert found.exit_code == 0, f"{found.output}\n{found.exception!r}"
        return found.stdout

    asked = ("--checkpoint", tiny_run, "--findings", ",".join(SQUARES), "--device", "cpu")
    shown = invoke("probe", tiny_dataset, *asked, "--method", "linear", "--labels", "50%,2", "--draws", 2,
                   "--out", tmp_path / "a")  # fmt: skip
    assert "With fewer labels (test)" in shown
    assert any(line.split()[:2] == ["linear", "2-shot"] for line in shown.splitlines())
    assert "decisions at thresholds chosen on the validate split" in shown
    invoke("probe", tiny_dataset, *asked, "--method", "linear", "--out", tmp_path / "b")
    shown = invoke("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "compare")
    assert "second: b; first: a" in shown
    assert "0.000 [0.000, 0.000]" in shown
    assert "p DeLong" in shown
    assert (tmp_path / "compare" / "compare.json").is_file()
