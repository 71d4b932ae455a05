import json
import math
from pathlib import Path

import numpy as np
import pytest
import tiny_studies
import torch
import yaml

from mmil_cli.errors import UsageError
from mmil_cli.stages.findings import matching, pick_findings, resolve_labels
from mmil_cli.stages.policies import Method, Missing, Uncertain
from mmil_cli.stages.probe import ProbeResult, run

SQUARES = [tiny_studies.label_name(corner) for corner in tiny_studies.CORNERS]


@pytest.fixture(scope="module")
def result(
    tiny_dataset: Path, tiny_run: Path, tiny_prompts: Path, tmp_path_factory: pytest.TempPathFactory
) -> ProbeResult:
    out = tmp_path_factory.mktemp("probe")
    return run(tiny_dataset, checkpoint=tiny_run, out=out, prompts=tiny_prompts, device="cpu")


def test_both_methods_beat_chance_by_more_than_their_intervals(result: ProbeResult) -> None:
    assert [part.method for part in result.methods] == [Method.LINEAR, Method.ZERO_SHOT]
    for part in result.methods:
        assert part.table.mean.num_findings == 4
        assert part.table.mean.auroc.low > 0.7
        assert part.table.mean.auprc.low > part.table.mean.prevalence + 0.1


def test_a_finding_of_one_class_is_skipped_with_its_counts(result: ProbeResult) -> None:
    linear, zero_shot = result.methods
    assert linear.skipped == {"Never": "the train split has 0 positive and 112 negative films"}
    assert zero_shot.skipped == {"Never": "no prompts for it"}


def test_the_record_holds_figures_and_provenance(result: ProbeResult) -> None:
    content = json.loads(result.record.read_text())
    zero_shot = content["methods"]["zero-shot"]["findings"]["Left Upper Square"]
    assert zero_shot["auroc"]["value"] == result.methods[1].table.rows[0].auroc.value
    assert zero_shot["chosen"]["negative"] == tiny_studies.PROMPTS["left upper square"]["negative"]
    assert (
        content["methods"]["linear"]["findings"]["Left Upper Square"]["chosen"]["chosen_on"]
        == "validate split"
    )
    assert content["num_films"] == 48
    assert content["provenance"]["checkpoint"]["folder"] == "tiny/checkpoint"
    assert content["provenance"]["split"] == "test"
    assert content["provenance"]["options"]["uncertain"] == "ignore"
    assert str(result.record.parent) not in result.record.read_text()


def test_zero_shot_is_the_difference_of_the_models_own_logits(
    tiny_dataset: Path, tiny_run: Path, tiny_prompts: Path
) -> None:
    from mmil_cli.build import load_checkpoint
    from mmil_cli.config.prompts import load_prompts
    from mmil_cli.data.dataset import StudyDataset
    from mmil_cli.stages.zero_shot import ZeroShot

    embedder = load_checkpoint(tiny_run, device="cpu").embedder
    dataset = StudyDataset.open(tiny_dataset)
    films = embedder.dataset(dataset, [0, 1, 2])
    one = {"a": load_prompts(tiny_prompts)["left upper square"]}
    single = {"a": type(one["a"])(one["a"].positive[:1], one["a"].negative[:1])}
    reports = embedder.reports([single["a"].positive, single["a"].negative])
    logits = embedder.logits(films.regions, reports).numpy()
    scores = ZeroShot(embedder, single).scores(films.regions)
    np.testing.assert_allclose(scores[:, 0], logits[:, 0] - logits[:, 1], rtol=1e-4, atol=1e-4)
    ensemble = ZeroShot(embedder, one)
    torch.testing.assert_close(ensemble.reports.sentences.features.norm(dim=1), torch.ones(2))
    assert not np.allclose(ensemble.scores(films.regions), scores)


def _mean(
    dataset: Path, checkpoint: Path, prompts: Path, out: Path, **options: object
) -> ProbeResult:  # fmt: skip
    fixed = {"checkpoint": checkpoint, "out": out, "prompts": prompts, "device": "cpu"}
    return run(dataset, **fixed, **options)  # type: ignore[arg-type]


def test_what_uncertain_counts_as_changes_the_labels_scored(
    tiny_dataset: Path, tiny_run: Path, tiny_prompts: Path, tmp_path: Path
) -> None:
    counts = {}
    for policy in Uncertain:
        result = _mean(
            tiny_dataset, tiny_run, tiny_prompts, tmp_path, uncertain=policy, methods=[Method.ZERO_SHOT]
        )
        row = result.methods[0].table.rows[0]
        counts[policy] = (row.num_positive, row.num_negative)
    positive, negative = counts[Uncertain.IGNORE]
    num_uncertain = counts[Uncertain.POSITIVE][0] - positive
    assert num_uncertain > 0
    assert counts[Uncertain.POSITIVE] == (positive + num_uncertain, negative)
    assert counts[Uncertain.NEGATIVE] == (positive, negative + num_uncertain)


def test_only_the_asked_findings_in_any_spelling_and_one_class_is_nan(
    tiny_dataset: Path, tiny_run: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text(
        yaml.safe_dump(
            {"never": {"positive": ["Never seen."], "negative": ["Not seen."]}, "Right_Upper_SQUARE": {
                "positive": ["Bright right upper square."], "negative": ["The right upper corner is dark."]
            }, "Cardiomegaly": {"positive": ["Big heart."], "negative": ["Small heart."]}}
        )
    )  # fmt: skip
    result = _mean(
        tiny_dataset, tiny_run, prompts, tmp_path, findings=["right upper_square", "NEVER"], split="validate"
    )
    zero_shot = result.methods[1].table
    assert [row.name for row in zero_shot.rows] == ["Right Upper Square", "Never"]
    assert zero_shot.rows[1].num_positive == 0
    assert math.isnan(zero_shot.rows[1].auroc.value)
    assert zero_shot.mean.num_findings == 1
    assert (
        json.loads(result.record.read_text())["methods"]["zero-shot"]["findings"]["Never"]["auroc"]["value"]
        is None
    )
    assert result.methods[0].details["Right Upper Square"]["chosen_on"] == "folds of the train split"
    assert any("Cardiomegaly" in note for note in result.notes)


def test_a_model_that_learned_nothing_stays_at_chance(
    tiny_dataset: Path, tiny_run: Path, tiny_prompts: Path, tmp_path: Path
) -> None:
    """The control of the learning test: the same run with the encoder's weights shuffled."""
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "run"
    shutil.copytree(tiny_run / "checkpoint", broken)
    weights = load_file(broken / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name, tensor in weights.items():
        if name.startswith("image_projection"):
            shuffled = tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)]
            weights[name] = shuffled.reshape(tensor.shape).clone()
    save_file(weights, broken / "model.safetensors")
    result = _mean(tiny_dataset, broken, tiny_prompts, tmp_path, methods=[Method.ZERO_SHOT])
    assert result.methods[0].table.mean.auroc.value < 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "train"}, "cannot be scored there"),
        ({"split": "holdout"}, "it has: test, train, validate|it has: train"),
        ({"findings": ["left uper square"]}, "did you mean 'Left Upper Square'"),
        ({"prompts": "chexpert"}, "has prompts for none of Left Upper Square"),
        ({"prompts": "chexprt"}, "did you mean 'chexpert'"),
    ],
)
def test_refuses_what_cannot_be(
    options: dict[str, object],
    message: str,
    tiny_dataset: Path,
    tiny_run: Path,
    tiny_prompts: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=message):
        run(
            tiny_dataset,
            checkpoint=tiny_run,
            out=tmp_path,
            device="cpu",
            **{"prompts": tiny_prompts, **options},
        )  # type: ignore[arg-type]
    assert not (tmp_path / "probe.json").exists()


def test_zero_shot_on_the_train_split_says_that_the_model_saw_it(
    tiny_dataset: Path, tiny_run: Path, tiny_prompts: Path, tmp_path: Path
) -> None:
    result = _mean(tiny_dataset, tiny_run, tiny_prompts, tmp_path, split="train", methods=[Method.ZERO_SHOT])
    assert any("trained on these very films" in note for note in result.notes)


@pytest.mark.parametrize(
    ("uncertain", "missing", "expected"),
    [
        ("ignore", "ignore", [1, 0, np.nan, np.nan]),
        ("positive", "ignore", [1, 0, 1, np.nan]),
        ("negative", "ignore", [1, 0, 0, np.nan]),
        ("ignore", "negative", [1, 0, np.nan, 0]),
        ("positive", "negative", [1, 0, 1, 0]),
    ],
)
def test_resolves_uncertain_and_missing_labels(uncertain: str, missing: str, expected: list[float]) -> None:
    labels = np.array([[1, 0, -1, np.nan]], np.float32)
    found = resolve_labels(labels, uncertain=Uncertain(uncertain), missing=Missing(missing))
    np.testing.assert_array_equal(found, [expected])


def test_what_missing_counts_as_changes_the_labels_scored(
    tiny_dataset: Path, tiny_run: Path, tiny_prompts: Path, tmp_path: Path
) -> None:
    negatives = []
    for policy in Missing:
        result = _mean(
            tiny_dataset, tiny_run, tiny_prompts, tmp_path, missing=policy, methods=[Method.ZERO_SHOT]
        )
        negatives.append(result.methods[0].table.rows[0].num_negative)
    assert negatives[0] < negatives[1]


def test_labels_may_come_from_a_table_of_their_own(
    tiny_dataset: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """The dataset's own labels, in a table by study, give the same figures; grades become thresholds."""
    from mmil_cli.data.dataset import StudyDataset

    dataset = StudyDataset.open(tiny_dataset)
    labels = dataset.labels(SQUARES[:1])[:, 0]
    studies = dataset.column("study_id")
    rows = {s: "" if np.isnan(v) else str(int(v)) for s, v in zip(studies, labels, strict=True)}
    table = tmp_path / "late.csv"
    lines = [f"{study},{value},57,{n % 4}" for n, (study, value) in enumerate(rows.items())]
    table.write_text("study_id,Left Upper Square,age,severity\n" + "\n".join([*lines, "elsewhere,1,3,0"]))
    options = {"checkpoint": tiny_run, "device": "cpu", "methods": [Method.LINEAR]}
    late = run(tiny_dataset, out=tmp_path / "late", label_table=table, **options)  # type: ignore[arg-type]
    own = run(tiny_dataset, out=tmp_path / "own", findings=SQUARES[:1], **options)  # type: ignore[arg-type]
    assert late.methods[0].table.rows[0] == own.methods[0].table.rows[0]
    names = [row.name for row in late.methods[0].table.rows]
    assert names == [SQUARES[0], "severity >= 1", "severity >= 2", "severity >= 3"]
    assert set(late.methods[0].classes) == {"severity"}
    assert "late.csv: 1 of its films or studies are not in this dataset" in late.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("film,Edema\na,1\n", "none of the columns image_id, dicom_id, study_id"),
        ("image_id,Edema\na,1\nb,0\n", "labels of other films: none of its 2 values of image_id"),
        ("study_id,age\ntrain-000,57\n", "no column of labels"),
        ("study_id,Edema\ntrain-000,1\ntrain-000,0\n", "several rows that differ of train-000"),
    ],
)
def test_a_table_of_labels_that_cannot_be_used_is_one_sentence(
    content: str, message: str, tiny_dataset: Path, tiny_run: Path, tmp_path: Path
) -> None:
    from mmil_cli.errors import MmilError

    table = tmp_path / "labels.csv"
    table.write_text(content)
    with pytest.raises(MmilError, match=message):
        run(tiny_dataset, checkpoint=tiny_run, out=tmp_path / "out", label_table=table, device="cpu")
    assert not (tmp_path / "out").exists()


def test_findings_are_matched_in_any_spelling() -> None:
    assert pick_findings(["Pleural Effusion", "Edema"], ["pleural_effusion"]) == ("Pleural Effusion",)
    assert matching({"PLEURAL effusion": 1, "Other": 2}, ["pleural_effusion"]) == {"pleural_effusion": 1}
    with pytest.raises(UsageError, match="no labels"):
        pick_findings([], None)
